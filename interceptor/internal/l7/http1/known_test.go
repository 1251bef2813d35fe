package http1

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
)

// lines of header sections, ordinary ones and others.
var lines = []string{
	"Host: a.example\r\n", "Host: b.example\r\n", "User-Agent: x/1.0 (y; z)\r\n", "Accept: */*\r\n", "X-A: 1\r\n", "x-a: 2\r\n", "Accept:*/*\r\n",
	"Content-Type: application/json\r\n", "Connection: keep-alive\r\n", "Upgrade: h2c\r\n", "Content-Type: text/plain\r\n", "Authorization: Bearer t\r\n",
	"Host: u:p@c.example\r\n", "Referer: /a?token=t\r\n", "Content-Encoding: gzip\r\n", "Content-Encoding: br, x\r\n",
	"X-Empty:\r\n", "X-Empty: \r\n", "X-Wide:   v \r\n", "X-Tab:\tv\r\n", ": v\r\n", "no colon\r\n", "X-Space : v\r\n", " X-Led: v\r\n",
	"X-Lf: v\n", "X-Control: \x01\r\n", "X-Nul: \x00\r\n", "X-Cr: a\rb\r\n", "X-\xe9: v\r\n", "X-Text: \xff\xfe\r\n", "X-Text: é\r\n",
	"X-Fold: a\r\n b\r\n", "X-Fold: a\r\n\tb\r\n", "X-Long: " + strings.Repeat("l", maxKnownLen-10) + "\r\n", "X-Longer: " + strings.Repeat("l", maxKnownLen) + "\r\n",
}

// sectionOf returns the lines of a section drawn from a few that are often the same.
func sectionOf(r *rand.Rand, few []string) string {
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString(few[r.IntN(len(few))])
		if r.IntN(5) == 0 {
			fmt.Fprintf(&b, "X-Id: %d\r\n", r.IntN(1000))
		}
	}
	if r.IntN(20) == 0 {
		b.WriteString(strings.Repeat(few[0], r.IntN(100)))
	}
	return b.String()
}

// TestKnownLinesChangeNothing compares with connections that bring every byte
// alone, where no section is there as a whole when its start line ends.
func TestKnownLinesChangeNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	starts := []string{"GET /1 HTTP/1.1\r\n", "GET /2 HTTP/1.1\r\n", "GET /3 HTTP/1.1\n", "GET /\x01 HTTP/1.1\n", "HEAD /\xff HTTP/1.1\r\n"}
	statuses := []string{"HTTP/1.1 200 OK\r\n", "HTTP/1.1 404 Not Found\r\n", "HTTP/1.1 200 \x01\n", "HTTP/1.1 200 \xe9\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 OK\r\n"}
	for i := range 1500 {
		few := make([]string, 1+r.IntN(6))
		for i := range few {
			few[i] = lines[r.IntN(len(lines))]
			if r.IntN(2) == 0 {
				few[i] = lines[r.IntN(12)]
			}
		}
		var turns []turn
		for range 12 {
			turns = append(turns,
				turn{fromClient, []byte(starts[r.IntN(len(starts))] + sectionOf(r, few) + "\r\n")},
				turn{fromServer, []byte(statuses[r.IntN(len(statuses))] + sectionOf(r, few) + "Content-Length: 0\r\n\r\n")})
		}
		whole := play(t, turns, func() int { return 1 << 30 })
		cut := play(t, turns, func() int { return 1 })
		if !sameRecords(whole, cut) {
			t.Fatalf("conversation %d, whole:\n%q\nbyte by byte:\n%q", i, whole, cut)
		}
	}
}

// sentFields gives a harness one request and returns the memory of its values.
func sentFields(h *harness, section string) (values []*byte) {
	h.client("GET / HTTP/1.1\r\n" + section + "\r\n")
	for _, f := range h.pending()[0].req.Headers {
		values = append(values, unsafe.StringData(f.Value))
	}
	h.server("HTTP/1.1 204 No Content\r\n\r\n")
	return values
}

// apart reports whether no two lines of a section have the same place, which a hash decides.
func apart(h *harness, section string) bool {
	taken := map[uint64]bool{}
	for line := range strings.Lines(section) {
		place := maphash.String(h.shared.known.seed, line) % knownPlaces
		if taken[place] {
			return false
		}
		taken[place] = true
	}
	return true
}

func TestKnownLinesAreNotCopied(t *testing.T) {
	h := full(t)
	const section = "Host: h\r\nAuthorization: secret\r\nAccept: */*\r\nReferer: /?token=secret\r\nHost: secret@h\r\n"
	for !apart(h, section) {
		h = full(t)
	}
	sentFields(h, section)
	second, third := sentFields(h, section), sentFields(h, section)
	for i, want := range []bool{true, false, true, false, false} {
		if known := second[i] == third[i]; known != want {
			t.Errorf("field %d is known: %t, want %t", i, known, want)
		}
	}
	for i := range h.shared.known.lines {
		if l := &h.shared.known.lines[i]; strings.Contains(l.text, "secret") {
			t.Errorf("%q is kept", l.text)
		}
	}
	h.shared.Release()
	if again := sentFields(h, section); again[0] == third[0] {
		t.Error("a line is known that should be forgotten")
	}
}

// TestKnownLinesFollowMasks has a field masked from some time on.
func TestKnownLinesFollowMasks(t *testing.T) {
	h := newHarness(t, Config{}, 0, testConn())
	keep := exchange.NewKeep(100, nil, nil)
	h.hand(Config{}, exchange.Config{Keep: keep, Emit: exchangetest.Keep(&h.records)})
	ask := func() {
		h.client("GET / HTTP/1.1\r\nX-Pin: 1\r\n\r\n")
		h.server("HTTP/1.1 204 No Content\r\nX-Pin: 1\r\n\r\n")
	}
	for range 3 {
		ask()
	}
	keep.Set(100, []string{"x-pin"}, nil)
	h.client("GET / HTTP/1.1\r\nX-Pin: 1\r\n\r\n")
	keep.Set(100, nil, nil) // between the two heads
	h.server("HTTP/1.1 204 No Content\r\nX-Pin: 1\r\n\r\n")
	keep.Set(100, []string{"x-pin"}, nil)
	ask()
	for i, x := range h.close(reassembly.CloseFIN) {
		want := "1"
		if i == 4 {
			want = "***"
		}
		if q, s := x.Request.Headers[0].Value, x.Response.Headers[0].Value; q != want || s != want {
			t.Errorf("exchange %d: %q and %q, want %q", i, q, s, want)
		}
	}
}

// BenchmarkSections has sections of ten fields that were all there before, or of
// which none was.
func BenchmarkSections(b *testing.B) {
	for _, fresh := range []bool{false, true} {
		b.Run(map[bool]string{false: "known", true: "new"}[fresh], func(b *testing.B) {
			h := benchConn(b, 0)
			fields := "X-Number: 00000000 some value of usual length\r\n"
			section := strings.Repeat(fields, 10) + "Content-Length: 0\r\n\r\n"
			messages := [2][]byte{[]byte("GET / HTTP/1.1\r\n" + section), []byte("HTTP/1.1 200 OK\r\n" + section)}
			number := uint32(0)
			var at [2]int64
			b.ReportAllocs()
			for b.Loop() {
				for d, m := range messages {
					for i := 0; fresh && i < 10; i++ {
						number++
						place := len(m) - len(section) + i*len(fields) + len("X-Number: ")
						for digit := range 8 {
							m[place+digit] = 'a' + byte(number>>(4*digit)&15)
						}
					}
					h.c.Data([2]flow.Direction{fromClient, fromServer}[d], reassembly.Chunk{Time: 1, Offset: at[d], Acked: at[1-d], Bytes: m})
					at[d] += int64(len(m))
				}
			}
		})
	}
}
