package pipeline

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// total sums the lines of the account, one for each shard, that count what.
func total(account, what string) (sum uint64) {
	for _, m := range regexp.MustCompile(`(?m)^ *([\d,]+)  +`+what+`$`).FindAllStringSubmatch(account, -1) {
		n, _ := strconv.ParseUint(strings.ReplaceAll(m[1], ",", ""), 10, 64) // digits, by the expression
		sum += n
	}
	return sum
}

// words are what processes say.
type words struct {
	phrase string
	times  int
	heard  chan struct{} // closed when phrase was said so many times

	mu   sync.Mutex
	buf  bytes.Buffer
	done bool // heard is closed
}

func newWords(phrase string, times int) *words {
	return &words{phrase: phrase, times: times, heard: make(chan struct{})}
}

// Write implements io.Writer.
func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.buf.Write(b)
	if !w.done && bytes.Count(w.buf.Bytes(), []byte(w.phrase)) >= w.times {
		w.done = true
		close(w.heard)
	}
	return n, err
}

// String returns what was said so far.
func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
