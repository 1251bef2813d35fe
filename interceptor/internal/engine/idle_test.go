package engine

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/capture"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"

	"golang.org/x/net/http2/hpack"
)

// idleBytes feeds n connections that carry one exchange each, made of what the
// client and the server say in turn, and then fall silent, and returns what the
// engine holds for each of them.
func idleBytes(tb testing.TB, n int, messages ...string) float64 {
	tb.Helper()
	var w wire
	c := w.connect(40000)
	for i, m := range messages {
		c.say(i%2, m)
	}
	c.frame(0, 0x10, nil)
	emitted := 0
	e := New(Config{
		Reassembly: reassembly.Config{MaxConnections: n},
		Exchange:   exchange.Config{Emit: func(*capstanv1.Exchange) { emitted++ }},
	})
	before := heap()
	for i := range n {
		for _, f := range w.frames {
			side := 0
			if binary.BigEndian.Uint16(f.Data[14+20:]) == 80 {
				side = 1
			}
			// The client's address and the time change, nothing else.
			binary.BigEndian.PutUint32(f.Data[14+12+4*side:], uint32(0x0a000000+i))
			e.Frame(&capture.Frame{Timestamp: int64(i + 1), Data: f.Data, Len: f.Len, LinkType: f.LinkType})
		}
	}
	held := float64(heap()-before) / float64(n)
	if emitted != n {
		tb.Fatalf("%d exchanges of %d", emitted, n)
	}
	e.Drained()
	if s := e.Snapshot(); s.Reassembly.Active != n {
		tb.Fatalf("%d connections of %d", s.Reassembly.Active, n)
	}
	runtime.KeepAlive(e)
	return held
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first has found, the second has freed
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkIdleConnections holds a million connections that have nothing to say.
func BenchmarkIdleConnections(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(idleBytes(b, 1_000_000, get(1), answer(600)), "B/connection")
	}
}

// maxIdleBytes is what a kept connection may cost that carries nothing: all of
// it, the tables' share included.
const maxIdleBytes = 512

// What an idle connection costs is its own: it does not grow with the number of
// them, nor with what went over it.
func TestIdleConnectionMemory(t *testing.T) {
	few, many := idleBytes(t, 5_000, get(1), answer(600)), idleBytes(t, 20_000, get(1), answer(600))
	if many > few*1.3+64 {
		t.Errorf("%.0f bytes for each of 5,000 idle connections, %.0f of 20,000", few, many)
	}
	if many > maxIdleBytes {
		t.Errorf("%.0f bytes for an idle HTTP/1 connection, at most %d are wanted", many, maxIdleBytes)
	}
}

// http2Messages are the client's and the server's words of a connection of HTTP/2
// with one exchange: few header fields, as API clients have.
func http2Messages() []string {
	frame := func(kind, flags, stream byte, payload string) string {
		return string([]byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream}) + payload
	}
	block := func(fields ...string) string {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for i := 0; i < len(fields); i += 2 {
			// Writing to a bytes.Buffer can't fail.
			_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return b.String()
	}
	const data, headers, settings, endStream, endHeaders, ack = 0, 1, 4, 1, 4, 1
	return []string{
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, "") +
			frame(headers, endHeaders|endStream, 1, block(":method", "GET", ":scheme", "http", ":authority", "api.example", ":path", "/api/items/1",
				"user-agent", "client/1.2.3", "accept", "application/json")),
		frame(settings, 0, 0, "") + frame(settings, ack, 0, "") +
			frame(headers, endHeaders, 1, block(":status", "200", "date", "Thu, 01 Jan 2026 00:00:00 GMT", "server", "server/1.2.3",
				"content-type", "application/json", "content-length", "100")) +
			frame(data, endStream, 1, string(make([]byte, 100))),
	}
}

// An idle connection of HTTP/2 keeps what its peers may refer to, and nothing for
// what it doesn't do.
func TestIdleHTTP2ConnectionMemory(t *testing.T) {
	few, many := idleBytes(t, 2_000, http2Messages()...), idleBytes(t, 8_000, http2Messages()...)
	if many > few*1.3+64 || many > 1900 {
		t.Errorf("%.0f bytes for each of 2,000 idle connections, %.0f of 8,000", few, many)
	}
	t.Logf("%.0f bytes for an idle HTTP/2 connection", many)
}
