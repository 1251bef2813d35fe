package http1

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"capstan/pkg/reassembly"
)

const chunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

// chunkOf returns a chunk of n bytes.
func chunkOf(n int) string { return fmt.Sprintf("%x\r\n%s\r\n", n, strings.Repeat("x", n)) }

// TestGapOfAChunksLineEnd: where chunks begin is known as long as the missing bytes end
// within the line end behind one.
func TestGapOfAChunksLineEnd(t *testing.T) {
	for from := range 10 {
		for lost := 1; lost <= 12-from; lost++ {
			h := full(t)
			h.client(get(1))
			const chunk = "0123456789\r\n"
			h.server(chunkedHead + "a\r\n" + chunk[:from])
			h.gap(fromServer, int64(lost))
			h.server(chunk[from+lost:] + "5\r\nabcde\r\n0\r\nX: y\r\n\r\n")
			h.client(get(2) + get(3)) // no place is lost: counting is good
			h.server(ok("a") + ok("bb"))
			xs := h.close(reassembly.CloseFIN)
			expect(t, xs, "GET /1 0 > 200 15 gap", "GET /2 0 > 200 1 +", "GET /3 0 > 200 2 +")
			if r := xs[0].Response; r.Body.GapBytes != uint64(min(lost, 10-from)) || len(r.Trailers) != 1 || h.shared.Stats.Resyncs != 0 {
				t.Errorf("%d bytes lost from %d: %v, %+v", lost, from, r, h.shared.Stats)
			}
		}
	}
}

// TestChunksAreFoundAgain loses bytes that tell where a chunk begins.
func TestChunksAreFoundAgain(t *testing.T) {
	const end = "0\r\n\r\n"
	for _, tc := range []struct {
		name   string
		pieces []string // a number of missing bytes, or a segment
		want   string
	}{
		{"two lines", []string{"8\r\n01234567\r\n", "gap 5", "tail\r\n" + chunkOf(10) + chunkOf(7) + end}, "25 gap place_guessed"},
		{"at the start of a segment", []string{"8\r\n01234567\r\n", "gap 40", chunkOf(16) + chunkOf(3) + end}, "27 gap place_guessed"},
		{"with extensions", []string{"8\r\n01234567\r\n", "gap 40", "tail\r\nA;n=v\r\n0123456789\r\n5 ; x\r\nabcde\r\n" + end}, "23 gap place_guessed"},
		{"in pieces", []string{"8\r\n01234567\r\n", "gap 40", "il\r", "\na", "\r", "\n01234", "56789\r\n", "5\r\nabcde", "\r\n0", "\r\n\r", "\n"}, "23 gap place_guessed"},
		{"in the line of a chunk", []string{"8\r\n01234567\r\n1", "gap 13", "6789\r\n" + chunkOf(30) + end}, "38 gap place_guessed"},
		{"between CR and LF", []string{"8\r\n01234567\r", "gap 30", "6789\r\n" + chunkOf(30) + end}, "38 gap place_guessed"},
		{"missing bytes in a chunk", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n1e\r\n0123456789", "gap 10", "0123456789\r\n" + end}, "38 gap place_guessed"},
		{"and in one that is believed", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n1\r\na\r\n1e\r\n0123456789", "gap 10", "0123456789\r\n5\r\nabcde\r\n" + end}, "44 gap place_guessed"},
		{"and up to its line end", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n1\r\na\r\n1e\r\n0123456789", "gap 22", "5\r\nabcde\r\n" + end}, "44 gap place_guessed"},
		{"again", []string{"8\r\n01234567\r\n", "gap 9", chunkOf(4) + chunkOf(5), "gap 20", chunkOf(6) + end}, "23 gap place_guessed"},
		{"the end alone", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n" + end}, "8 gap place_guessed"},
		{"not even the end", []string{"8\r\n01234567\r\n", "gap 9", "tail"}, "8 gap"},
		{"the end is missing", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n" + chunkOf(4) + chunkOf(5), "gap 5"}, "17 gap place_guessed"},
		{"text", []string{"8\r\n01234567\r\n", "gap 9", "b\r\nfew\r\nlines\r\n0\r\nand\r\n\r\n", "more"}, "8 gap"},
		{"a size that leads nowhere", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n9\r\nabc\r\n\r\n10\r\n", strings.Repeat("x", 20) + "\r\n" + chunkOf(4) + end}, "12 gap place_guessed"},
		{"too large a size", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n7fffffffffffffff\r\n", "7fffffff\r\n", chunkOf(4) + end}, "12 gap place_guessed"},
		{"chunks in a chunk", []string{"8\r\n01234567\r\n", "gap 9", "1f\r\n....\r\n5\r\nabcde\r\n0\r\nmore of it..\r\n" + chunkOf(4) + "9\r\nabcd"}, "21 gap place_guessed"},
		{"what seems the end is none", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n0\r\n\r\n", "more\r\n" + chunkOf(4) + end}, "12 gap place_guessed"},
		{"what seems the end, with more in its segment, is none", []string{"8\r\n01234567\r\n", "gap 9", "tail\r\n0\r\n\r\nmore\r\n" + chunkOf(4) + "4\r\nmore"}, "16 gap place_guessed"},
	} {
		for how, behind := range map[string]func(h *harness){
			"a request": func(h *harness) { h.client(get(2)); h.server(ok("x")) },
			"a response": func(h *harness) {
				h.chunk(fromServer, []byte(ok("x")), h.offset[fromClient])
			},
			"the end": func(h *harness) {},
		} {
			t.Run(tc.name+", then "+how, func(t *testing.T) {
				h := full(t)
				h.client(get(1))
				h.server(chunkedHead)
				for _, p := range tc.pieces {
					var n int64
					if _, err := fmt.Sscanf(p, "gap %d", &n); err == nil {
						h.gap(fromServer, n)
					} else {
						h.server(p)
					}
				}
				behind(h)
				got := summary(h.close(reassembly.CloseFIN)[0])
				if want := "GET /1 0 > 200 " + tc.want; got != want {
					t.Errorf("%s, want %s", got, want)
				}
			})
		}
	}
}

// TestWhatEndsASoughtBodyIsNoneOfIt: the response that tells that the one before is over was
// sent later, to a request that was never captured. That is no sign of a client that does
// not wait.
func TestWhatEndsASoughtBodyIsNoneOfIt(t *testing.T) {
	for _, tail := range []string{"tail\r\n" + chunkOf(3) + "0\r\n\r\n", "tail"} {
		h := full(t)
		h.client(get(1))
		h.server(chunkedHead + chunkOf(5))
		h.gap(fromServer, 20)
		h.server(tail)
		lost := int64(len(get(2)))
		h.chunk(fromServer, []byte(ok("2")), h.offset[fromClient]+lost)
		h.gap(fromClient, lost)
		h.client(get(3))
		h.server(ok("3"))
		xs := h.close(reassembly.CloseFIN)
		if len(xs) != 3 || summary(xs[1]) != "- > 200 1 no_request" || summary(xs[2]) != "GET /3 0 > 200 1 +" {
			t.Errorf("behind %q: %q", tail, summaries(xs))
		}
	}
}

// TestTrailersBehindALoss: they are told where a chunk bears witness of the last one.
func TestTrailersBehindALoss(t *testing.T) {
	for _, tc := range []struct {
		name, tail string
		gap        int64 // behind it
		want       int
	}{
		{"behind a chunk", chunkOf(3) + "0\r\nA: b\r\nC: d\r\n\r\n", 0, 2},
		{"behind no chunk", "tail\r\n0\r\nA: b\r\nC: d\r\n\r\n", 0, 0},
		{"cut off", chunkOf(3) + "0\r\nA: b\r\nC: d\r\n", 0, 0},
		{"with missing bytes behind them", chunkOf(3) + "0\r\nA: b\r\nC: d\r\n\r\n", 5, 0},
		{"with a line that is none", chunkOf(3) + "0\r\nA: b\r\nno field\r\n\r\n", 0, 0},
		{"with one that is too long", chunkOf(3) + "0\r\nA: b\r\nC: " + strings.Repeat("d", maxSoughtLine) + "\r\n\r\n", 0, 0},
		{"too many", chunkOf(3) + "0\r\n" + strings.Repeat("A: b\r\n", maxSoughtTrailers) + "\r\n", 0, 0},
	} {
		h := full(t)
		h.client(get(1))
		h.server(chunkedHead + chunkOf(9))
		h.gap(fromServer, 20)
		h.server(tc.tail)
		if tc.gap > 0 {
			h.gap(fromServer, tc.gap)
		}
		h.client(get(2))
		h.server(ok("x"))
		xs := h.close(reassembly.CloseFIN)
		if got := xs[0].Response.Trailers; len(got) != tc.want || len(xs) != 2 || summary(xs[1]) != "GET /2 0 > 200 1 +" {
			t.Errorf("%s: trailers %v, records %q", tc.name, got, summaries(xs))
		}
	}
}

// TestUploadsChunksAreFoundAgain is about the other direction.
func TestUploadsChunksAreFoundAgain(t *testing.T) {
	const head = "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tc := range []struct{ name, tail, want string }{
		{"to the end", chunkOf(3) + chunkOf(4) + "0\r\nA: b\r\n\r\n", "POST /1 12 > 200 1 gap place_guessed"},
		{"not to the end", chunkOf(3) + chunkOf(4) + "9\r\nabc", "POST /1 15 > 200 1 gap place_guessed"},
		{"not at all", "text", "POST /1 5 > 200 1 gap"},
	} {
		h := full(t)
		h.client(head + chunkOf(5))
		h.gap(fromClient, 20)
		h.client(tc.tail)
		h.server(ok("x"))
		if len(h.records) != 1 {
			t.Errorf("%s: not told as soon as it is answered", tc.name)
		}
		h.client(get(2))
		h.server(ok("yy"))
		expect(t, h.close(reassembly.CloseFIN), tc.want, "GET /2 0 > 200 2 +")
	}
}

// TestAnothersChunks: where the next message may have begun in the missing bytes, what
// follows is not told as of the one before.
func TestAnothersChunks(t *testing.T) {
	const tail = "7\r\nanother\r\n3\r\nabc\r\n0\r\n\r\n"
	for _, tc := range []struct {
		name string
		play func(h *harness)
		want []string
	}{
		{"its request was seen before", func(h *harness) {
			h.chunk(fromClient, []byte(get(2)), h.offset[fromServer]+30)
			h.gap(fromServer, 100)
			h.server(tail)
		}, []string{"GET /1 0 > 200 5 gap", "GET /2 0 > - no_response"}},
		{"its request comes behind", func(h *harness) {
			h.gap(fromServer, 100)
			h.client(get(2))
			h.server(tail)
		}, []string{"GET /1 0 > 200 5 gap", "GET /2 0 > - no_response"}},
		{"its request is missing, too", func(h *harness) {
			h.gap(fromServer, 100)
			h.chunk(fromServer, []byte(tail), h.offset[fromClient]+50)
			h.gap(fromClient, 50)
		}, []string{"GET /1 0 > 200 5 gap"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := full(t)
			h.client(get(1))
			h.server(chunkedHead + chunkOf(5))
			tc.play(h)
			expect(t, h.close(reassembly.CloseFIN), tc.want...)
		})
	}
	t.Run("what the server had received is not known", func(t *testing.T) {
		h := full(t)
		h.client(get(1))
		h.chunk(fromServer, []byte(chunkedHead+chunkOf(5)), -1)
		h.gap(fromServer, 100)
		h.chunk(fromServer, []byte(tail), -1)
		expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 5 gap")
	})
}

// startsLikeOne reports whether a segment is taken for a response, as it is wherever the
// place is lost.
func startsLikeOne(segment string) bool {
	return strings.HasPrefix(strings.TrimLeft(segment, lineEnd), "H")
}

// TestHostileChunksMakeNoMessage: a body that holds whole conversations, behind missing
// bytes, makes no message of them, whatever its chunks are taken for. The next ones are
// paired right.
func TestHostileChunksMakeNoMessage(t *testing.T) {
	lies := []string{
		"\r\n5\r\nabcde\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nId: lie\r\nContent-Length: 0\r\n\r\n", "\r\n0\r\n\r\n", "\r\n0\r\nX: lie\r\n\r\n",
		"\r\nffffffffff\r\n", "\r\n3\r\nabc\r\n7fffffff\r\n", "GET /lie HTTP/1.1\r\nHost: h\r\n\r\n", "0", "\r\n", "\r", "1\r\n", "a\r\n0123456789\r\n",
	}
	found := 0
	for seed := range 3000 {
		r := rand.New(rand.NewPCG(uint64(seed), 9))
		h := full(t)
		size := 0
		for id := range 3 {
			var body strings.Builder
			size = 0
			for range 1 + r.IntN(4) {
				var text strings.Builder
				for range 1 + r.IntN(12) {
					text.WriteString(lies[r.IntN(len(lies))])
					text.WriteString(strings.Repeat("z", 20*r.IntN(2)))
				}
				size += text.Len()
				fmt.Fprintf(&body, "%x\r\n%s\r\n", text.Len(), text.String())
			}
			message := fmt.Sprintf("HTTP/1.1 200 OK\r\nId: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n", id, body.String())
			h.client(get(id))
			at := strings.Index(message, "\r\n\r\n") + 4 + r.IntN(body.Len())
			h.server(message[:at])
			n := 1 + r.IntN(len(message)-at)
			for startsLikeOne(message[at+n:]) {
				n++
			}
			h.gap(fromServer, int64(n))
			for rest := message[at+n:]; rest != ""; {
				n := 1 + r.IntN(len(rest))
				for startsLikeOne(rest[n:]) {
					n++
				}
				h.server(rest[:n])
				rest = rest[n:]
			}
		}
		for i, x := range h.close(reassembly.CloseFIN) {
			if len(h.records) != 3 || x.Request == nil || x.Response == nil || fmt.Sprint("/", i) != x.Request.Target || x.Response.Headers[0].Value != fmt.Sprint(i) {
				t.Fatalf("seed %d: record %d of %d: %v", seed, i, len(h.records), x)
			}
		}
		if b := h.records[2].Response.Body; b.Size > uint64(size) || b.GapBytes > b.Size {
			t.Fatalf("seed %d: a body of %d bytes is told as %v", seed, size, b)
		}
		if strings.Contains(summary(h.records[2]), "place_guessed") {
			found++
		}
	}
	if found == 0 {
		t.Error("nothing was taken for chunks")
	}
	t.Logf("%d of 3000 had something in it that was taken for a chunk, or the end", found)
}
