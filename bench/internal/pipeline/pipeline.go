// Package pipeline measures both processes at work together: how many exchanges
// rpcapd and interceptor tell for each second of processor time.
package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"capstan/bench/internal/pair"
	"capstan/pkg/netns"
)

// Config is one measurement.
type Config struct {
	Self, Rpcapd, Interceptor string
	ResponseLen               int // bytes of a response's body
	Shards                    int
	Rate                      float64 // frames per second, 0 = flat out
	Duration                  time.Duration
}

// Result is what was told, and what it took.
type Result struct {
	Exchanges, Complete uint64
	RingLost            uint64 // frames that the server's ring had no room for
	// Processor time from start to end, user and system.
	Rpcapd, Interceptor time.Duration
}

// PerSecond returns the exchanges for each second of processor time of both.
func (r *Result) PerSecond() float64 {
	return float64(r.Exchanges) / (r.Rpcapd + r.Interceptor).Seconds()
}

const ifname = "eth0"

// Run makes one measurement, in namespaces of its own: generated connections of
// HTTP/1 over a cable, captured through a unix socket, told as JSON to nowhere.
func Run(ctx context.Context, c Config) (r Result, err error) {
	server, err := netns.New()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	generator, err := netns.New()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, generator.Close()) }()
	if err := netns.Veth(server, ifname, generator, ifname); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp("", "pipeline-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return r, err
	}
	defer nowhere.Close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := &words{capturing: make(chan struct{}), want: c.Shards}
	var sent error
	var sending sync.WaitGroup
	sending.Go(func() {
		defer cancel() // the pair takes what is under way
		sent = c.send(ctx, generator, said.capturing)
	})
	var processes []*exec.Cmd
	socket := filepath.Join(dir, "s")
	_, err = pair.Run(ctx, pair.Config{
		Rpcapd: c.Rpcapd, RpcapdArgs: []string{"--unix-socket", socket, "--ring-size", "64"},
		Interceptor: c.Interceptor, Source: "rpcap+unix://" + url.PathEscape(socket) + "/" + ifname,
		InterceptorArgs: []string{"--output", "json", "--status-interval", "0", "--shards", strconv.Itoa(c.Shards)},
		Start: func(cmd *exec.Cmd) error {
			processes = append(processes, cmd)
			return server.Start(cmd)
		},
		Stdout: nowhere, Stderr: said,
	})
	cancel()
	sending.Wait()
	if err = errors.Join(err, sent); err != nil {
		return r, fmt.Errorf("%w\n%s", err, said.String())
	}
	r.Rpcapd, r.Interceptor = spent(processes[0]), spent(processes[1])
	text := said.String()
	r.Exchanges, r.Complete = total(text, `exchanges`), total(text, `complete`)
	r.RingLost = total(text, `lost in its ring`)
	if r.Exchanges == 0 {
		return r, fmt.Errorf("nothing was told\n%s", text)
	}
	return r, nil
}

// send lets the generator send once all is captured.
func (c *Config) send(ctx context.Context, from *netns.NS, capturing <-chan struct{}) error {
	select {
	case <-capturing:
	case <-ctx.Done():
		return nil // the pair tells why
	}
	cmd := exec.CommandContext(ctx, c.Self, "generate", "-i", ifname, "--kind", "http1", "--size", "1514", "--flows", "50",
		"--exchanges", "100", "--response-len", strconv.Itoa(c.ResponseLen),
		"--rate", strconv.FormatFloat(c.Rate, 'f', -1, 64), "--duration", c.Duration.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := from.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("generator: %w: %s", err, stderr.String())
	}
	return nil
}

func spent(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// total sums the lines of the account, one for each shard, that count what.
func total(account, what string) (sum uint64) {
	for _, m := range regexp.MustCompile(`(?m)^ *([\d,]+)  +`+what+`$`).FindAllStringSubmatch(account, -1) {
		n, _ := strconv.ParseUint(strings.ReplaceAll(m[1], ",", ""), 10, 64) // digits, by the expression
		sum += n
	}
	return sum
}

// words are what the processes say. capturing is closed when the interceptor has
// said so for each shard.
type words struct {
	capturing chan struct{}
	want      int

	mu  sync.Mutex
	buf bytes.Buffer
	all bool // capturing is closed
}

// Write implements io.Writer.
func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.buf.Write(b)
	if !w.all && bytes.Count(w.buf.Bytes(), []byte("msg=capturing")) >= w.want {
		w.all = true
		close(w.capturing)
	}
	return n, err
}

// String returns what was said so far.
func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
