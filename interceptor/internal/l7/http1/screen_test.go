package http1

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/gzip"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// masking is what records may hold from some moment on.
type masking struct {
	limit         int
	fields, query []string
}

// maskings returns one for each of n moments, nil where nothing changes.
func maskings(r *rand.Rand, n int) []*masking {
	names := []string{"Host", "content-encoding", "Transfer-Encoding", "X-A", "accept", "User-Agent", "Referer", "Location", "X-Text", "X-Id", "Authorization",
		"X-Mar\u212a", "Ho\u017ft", " X-Fold ", "", "X-Trailer"}
	all := make([]*masking, n)
	for i := range all {
		if i > 0 && r.IntN(3) > 0 {
			continue
		}
		m := &masking{limit: 100 * r.IntN(3)}
		if r.IntN(4) > 0 {
			m.fields = make([]string, r.IntN(4)) // which may mask nothing
			for j := range m.fields {
				m.fields[j] = names[r.IntN(len(names))]
			}
		}
		if r.IntN(2) > 0 {
			m.query = [][]string{{}, {"token"}, {"a"}}[r.IntN(3)]
		}
		all[i] = m
	}
	return all
}

// playMasked plays connections, which share known lines, with a masking before each
// turn. next tells how many bytes a segment has, release when memory is let go.
func playMasked(t *testing.T, conns [][]turn, masks []*masking, next func() int, release int) ([]*capstanv1.Exchange, exchange.Stats) {
	keep := exchange.NewKeep(0, nil, nil)
	h := newHarness(t, Config{}, 0, testConn())
	h.hand(Config{MaxHeadLen: 2000}, exchange.Config{Keep: keep, Emit: exchangetest.Keep(&h.records)})
	at := 0
	for _, turns := range conns {
		h.c, h.offset = new(Conn), [2]int64{}
		h.c.Init(h.shared, h.conn, nil, 0)
		for _, tn := range turns {
			if m := masks[at]; m != nil {
				keep.Set(m.limit, m.fields, m.query)
			}
			if at++; at%release == 0 {
				h.shared.Release()
			}
			h.turn(tn, next)
		}
		h.time = 1000
		h.c.Close(h.time, reassembly.CloseFIN)
	}
	h.balance()
	return h.records, h.shared.rec.Stats()
}

// codedBody is text in gzip.
func codedBody(t *testing.T) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte("a body that is text")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// maskedTurns is a connection whose heads have lines of few, with bodies, trailers,
// interim responses and requests ahead, and turns that end anywhere.
func maskedTurns(r *rand.Rand, few []string, body string) (turns []turn) {
	targets := []string{"/", "/?token=t", "http://u:p@h/", "/?a=b#token=c", "u:p@h:1"}
	message := func(start string) string {
		s := start + sectionOf(r, few)
		coding := ""
		switch r.IntN(5) {
		case 0:
			coding = "gzip, "
			fallthrough
		case 1:
			return s + "Transfer-Encoding: " + coding + "chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n", len(body), body, few[0])
		case 2:
			return s + "Content-Encoding: gzip\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
		}
		return s + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	}
	for range 8 {
		var q, s string
		for range 1 + r.IntN(3) {
			q += message("POST " + targets[r.IntN(len(targets))] + " HTTP/1.1\r\n")
			if r.IntN(4) == 0 {
				s += "HTTP/1.1 103 Early Hints\r\n" + sectionOf(r, few) + "\r\n"
			}
			s += message([]string{"HTTP/1.1 200 OK\r\n", "HTTP/1.1 404 Not Found\r\n"}[r.IntN(2)])
		}
		for _, tn := range []turn{{fromClient, []byte(q)}, {fromServer, []byte(s)}} {
			if at := r.IntN(2 * len(tn.bytes)); at < len(tn.bytes) {
				turns = append(turns, turn{tn.d, tn.bytes[:at]})
				tn.bytes = tn.bytes[at:]
			}
			turns = append(turns, tn)
		}
	}
	return turns
}

// TestScreenedAsUnscreened has masks that change at any moment. It compares with
// connections that bring every byte alone, whose fields nobody screens before the
// record leaves.
func TestScreenedAsUnscreened(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	body := codedBody(t)
	lines := append([]string{"X-Mark: 1\r\n", "Content-Encoding : gzip\r\n", "Content-Encoding: identity\r\n", "content-encoding: gzip\r\n",
		"Location: //h/?a=1&token=t\r\n", "Host: u@h\r\n", "HOST: u:p@h\r\n", "X-Trailer: 1\r\n"}, lines...)
	masked := uint64(0)
	for i := range 100 {
		few := make([]string, 1+r.IntN(5))
		for i := range few {
			few[i] = lines[r.IntN(24)] // nearly all of them usual
			if r.IntN(10) == 0 {
				few[i] = lines[r.IntN(len(lines))]
			}
		}
		conns := [][]turn{maskedTurns(r, few, body), maskedTurns(r, few, body)}
		masks := maskings(r, len(conns[0])+len(conns[1]))
		release := 1 + r.IntN(20)
		want, counted := playMasked(t, conns, masks, func() int { return 1 }, release)
		for name, next := range map[string]func() int{"whole": func() int { return 1 << 30 }, "cut": func() int { return 1 + r.IntN(400) }} {
			got, stats := playMasked(t, conns, masks, next, release)
			if !sameRecords(got, want) || stats != counted {
				t.Fatalf("conversation %d, %s, masks %v:\n%q\n%+v\nbyte by byte:\n%q\n%+v", i, name, masks, got, stats, want, counted)
			}
		}
		masked += counted.MaskedHeaders
	}
	if masked == 0 {
		t.Error("nothing was masked")
	}
}
