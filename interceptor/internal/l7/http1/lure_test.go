package http1

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
)

const mss = 1448

// sought starts an upload that loses its place among its chunks.
const sought = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1~"

// lures are streams that have much looked at in vain, after the usual ones. A direction
// has begun with start before, and has lost its place if that is empty or ends in "~".
var lures = []struct {
	name  string
	d     flow.Direction
	start string
	unit  string // again and again
}{
	{"lost/text", fromClient, "", "no more than a line of text, which a body may hold; "},
	{"lost/response text", fromServer, "", "no more than a line of text, which a body may hold; "},
	{"lost/spaces", fromClient, "", "GET" + strings.Repeat(" ", 16<<10)},
	{"lost/spaced target", fromClient, "", "GET /a" + strings.Repeat(" b", 8<<10)},
	{"lost/long target", fromClient, "", "GET h" + strings.Repeat("b", 16<<10)},
	{"lost/unknown method", fromClient, "", "GOT /" + strings.Repeat("b", 16<<10)},
	{"lost/line ends", fromClient, "", "\r\n"},
	{"lost/versions", fromClient, "", "a b HTTP/1.1\r\n"},
	{"lost/half versions", fromClient, "", " HTTP/1. H"},
	{"body", fromClient, "POST / HTTP/1.1\r\nContent-Length: 9000000000000\r\n\r\n", "no more than a line of text; "},
	{"chunks of 1", fromClient, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
	{"chunk extensions", fromClient, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1;" + strings.Repeat("x", 1000) + "\r\nx\r\n"},
	{"lost in chunks/text", fromClient, sought, "no more than a line of text; "},
	{"lost in chunks/line ends", fromClient, sought, "\r\n"},
	{"lost in chunks/chunks of 1", fromClient, sought, "1\r\nx\r\n"},
	{"lost in chunks/sizes", fromClient, sought, "fff\r\n"},
	{"lost in chunks/small sizes", fromClient, sought, "7\r\n"},
	{"lost in chunks/extensions", fromClient, sought, "1;" + strings.Repeat("x", 100) + "\r\n"},
	{"lost in chunks/ends", fromClient, sought, "0\r\n\r\n"},
	{"lost in chunks/trailers", fromClient, sought, "1\r\nx\r\n0\r\na:\r\n"},
	{"long line", fromClient, "GET / HTTP/1.1\r\n", "a"},
	{"fields", fromClient, "GET / HTTP/1.1\r\n", "User-Agent: something with some length, as these are\r\n"},
	{"short fields", fromClient, "GET / HTTP/1.1\r\n", "a:\r\n"},
	{"folds", fromClient, "GET / HTTP/1.1\r\n", "\n "},
	{"requests", fromClient, "GET / HTTP/1.1\r\n\r\n", "GET /something/somewhere HTTP/1.1\r\nHost: somewhere.example\r\nUser-Agent: something with some length, as these are\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n"},
	{"short requests", fromClient, "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"},
	{"short responses", fromServer, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204\r\n\r\n"},
	{"interim responses", fromServer, "HTTP/1.1 100\r\n\r\n", "HTTP/1.1 100\r\n\r\n"},
	{"line ends", fromClient, "\r\n", "\r\n"},
}

// BenchmarkLures feeds them in segments of each size.
func BenchmarkLures(b *testing.B) {
	for _, x := range lures {
		for _, size := range []int{1, 64, mss} {
			b.Run(fmt.Sprintf("%s/%d", x.name, size), func(b *testing.B) {
				unit := []byte(x.unit)
				if over := len(unit) % size; over > 0 && len(unit) > size {
					unit = unit[:len(unit)-over] // one begins with a segment, and the next too
				}
				body := bytes.Repeat(unit, 1+(1<<20)/len(unit))
				body = body[:min(len(body), 32<<10*size)]
				segments := 0
				for b.Loop() {
					b.StopTimer()
					h := benchConn(b, 0)
					if x.start == "" {
						h.gap(x.d, 1)
					} else {
						start, lost := strings.CutSuffix(x.start, "~")
						h.send(x.d, start)
						if lost {
							h.gap(x.d, 9)
						}
					}
					offset := h.offset[x.d]
					b.StartTimer()
					for at := 0; at+size <= len(body); at += size {
						h.c.Data(x.d, reassembly.Chunk{Acked: -1, Offset: offset + int64(at), Bytes: body[at : at+size]})
						segments++
					}
				}
				each := float64(b.Elapsed().Nanoseconds()) / float64(segments)
				b.ReportMetric(each, "ns/segment")
				b.ReportMetric(each/float64(size), "ns/byte")
			})
		}
	}
}

// TestLureIsNotKept: what may be a start line is kept up to a length, and a number of
// segments, whatever it goes on with. A request behind it is found.
func TestLureIsNotKept(t *testing.T) {
	for _, x := range lures {
		if x.start != "" {
			continue
		}
		for _, size := range []int{1, 64, mss} {
			h := newHarness(t, Config{}, 0, testConn())
			h.gap(x.d, 1)
			body := strings.Repeat(x.unit, 1+(64<<10)/len(x.unit))
			for at := 0; at+size <= len(body); at += size {
				h.send(x.d, body[at:at+size])
				if m := h.c.half[x.d].message; m != nil && len(m.buf) > maxDetectLen+size {
					t.Fatalf("%s: %d bytes are kept", x.name, len(m.buf))
				}
			}
			if x.d == fromClient {
				h.send(x.d, get(1))
			} else {
				h.send(x.d, "HTTP/1.1 204 No Content\r\n\r\n")
			}
			if n := len(h.close(reassembly.CloseFIN)); n != 1 {
				t.Errorf("%s: %d records, want that of what comes behind it", x.name, n)
			}
		}
	}
}
