package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Whatever comes, net/http reads it as it is told here, or it is told that others may read it
// otherwise. What net/http refuses tells nothing.

// readAs is what both have to agree on: the place of each message follows from the bodies.
func readAs(first, target string, body uint64) string {
	return fmt.Sprintf("%s %s %d", first, strings.ToValidUTF8(target, "\uFFFD"), body)
}

// theirRequests returns the requests in b, up to what net/http refuses, or what another protocol
// may follow.
func theirRequests(b []byte) (all []string) {
	r := bufio.NewReader(bytes.NewReader(b))
	for {
		q, err := http.ReadRequest(r)
		if err != nil || q.Method == http.MethodConnect || q.Header.Get("Upgrade") != "" {
			return all
		}
		n, err := io.Copy(io.Discard, q.Body)
		if err != nil {
			return all
		}
		all = append(all, readAs(q.Method, q.RequestURI, uint64(n)))
	}
}

// theirResponses returns likewise the final responses to GET in b.
func theirResponses(b []byte) (all []string) {
	r := bufio.NewReader(bytes.NewReader(b))
	for {
		s, err := http.ReadResponse(r, nil)
		if err != nil || s.StatusCode == http.StatusSwitchingProtocols {
			return all
		}
		n, err := io.Copy(io.Discard, s.Body)
		if err != nil {
			return all
		}
		if s.StatusCode >= 200 {
			all = append(all, readAs(fmt.Sprint(s.StatusCode), "", uint64(n)))
		}
	}
}

// doubted stands for a message that is marked as one that others may read otherwise.
const doubted = ""

// ours returns what is told of the records, by what.
func ours(records []*capstanv1.Exchange, what func(*capstanv1.Exchange) string) (all []string) {
	for _, x := range records {
		m := what(x)
		switch {
		case m == "":
			continue // it has no such half
		case slices.ContainsFunc(x.Flaws, func(f capstanv1.Flaw) bool { return f == malformed || f == cut || f == guessed }):
			m = doubted
		}
		all = append(all, m)
	}
	return all
}

const guessed = capstanv1.Flaw_FLAW_PLACE_GUESSED

// agree compares messages up to the first that is in doubt, and returns how many agree.
func agree(t *testing.T, b []byte, ours, theirs []string) (n int) {
	t.Helper()
	for n < len(theirs) && (n == len(ours) || ours[n] != doubted) {
		if n == len(ours) || ours[n] != theirs[n] {
			t.Fatalf("%q: told %q, net/http reads %q", b, ours, theirs)
		}
		n++
	}
	return n
}

func agreeOnRequests(t *testing.T, b []byte) int {
	t.Helper()
	h := full(t)
	h.client(string(b))
	return agree(t, b, ours(h.close(reassembly.CloseFIN), func(x *capstanv1.Exchange) string {
		if q := x.Request; q != nil {
			return readAs(q.Method, q.Target, q.Body.GetSize())
		}
		return ""
	}), theirRequests(b))
}

func agreeOnResponses(t *testing.T, b []byte) int {
	t.Helper()
	h := full(t)
	h.client(strings.Repeat(get(1), 50))
	h.server(string(b))
	return agree(t, b, ours(h.close(reassembly.CloseFIN), func(x *capstanv1.Exchange) string {
		if s := x.Response; s != nil {
			return readAs(fmt.Sprint(s.Status), "", s.Body.GetSize())
		}
		return ""
	}), theirResponses(b))
}

// madeUp makes messages of what each reader takes as he likes; the last is a plain one.
func madeUp(r *rand.Rand, firsts []string) []byte {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	end := func() string {
		return pick("\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\r\n", "\n\r\n", "\r\n\n")
	}
	const plain = "Content-Length: 0\r\n\r\n"
	var b strings.Builder
	for range 1 + r.IntN(3) {
		b.WriteString(pick(firsts[0], pick(firsts...)) + end())
		for range r.IntN(4) {
			b.WriteString(pick("Content-Length", "content-length", "Transfer-Encoding", "Transfer-Encoding", "X", "Host", "Connection", " Content-Length", "Content-Length ", "Content\x00-Length", "Transfer_Encoding", ""))
			b.WriteString(pick(": ", ": ", ": ", ":", ":\t", " : ", ""))
			b.WriteString(pick("0", "4", "4", "5", "17", "chunked", "chunked", "Chunked", "gzip, chunked", "chunked, gzip", "chunked, chunked", "identity", "xchunked", "4, 4", "4,5", "04", "+4", "-1", "0x4", "4 4", "",
				"close", "a\r\n b", "4\r\n ", "\r\n 4", "\r\n chunked", "99999999999999999999", "9223372036854775807", "4;", "chunked;q=1", "\x0bchunked", "4\r", "\"4\"") + end())
		}
		b.WriteString(end())
		for range r.IntN(3) {
			b.WriteString(pick("4\r\nabcd\r\n", "0\r\n\r\n", "0\r\n\r\n", "abcd", "a", "4;x=y\r\nabcd\r\n", "4 \r\nabcd\r\n", "04\r\nabcd\r\n", "+4\r\nabcd\r\n", "0x4\r\nabcd\r\n", "4\nabcd\n", "4\r\nabcde\r\n", "4\r\nabc\r\n",
				"0\r\nX: y\r\n\r\n", "0\r\nContent-Length: 4\r\n\r\n", "0\n\n", "0\r\n\n", "\r\n", "4\r\nabcdXX", "4;\"\r\n\"\r\nabcd\r\n", "0;\r\n\r\n", "00\r\n\r\n", "0 \r\n\r\n", "4\r\r\nabcd\r\n", "ffffffffffffffff\r\na",
				"10000000000000004\r\nabcd\r\n", "4\r\nabcd\n", "0\r\n X: y\r\n\r\n", "0\r\nX\r\n\r\n", "0\r\nX : y\r\n\r\n"))
		}
	}
	return []byte(b.String() + firsts[0] + "\r\n" + plain)
}

func TestAgreesOnWhatIsMadeUp(t *testing.T) {
	requests := []string{"GET /1 HTTP/1.1", "POST /2 HTTP/1.1", "PUT /3 HTTP/1.0", "HEAD /4 HTTP/1.1", "GET  /5 HTTP/1.1", "GET /6 HTTP/1.1 ", "GET /7", "get /8 HTTP/1.1", "OPTIONS * HTTP/1.1", "GET http://h/9 HTTP/1.1",
		"A /a HTTP/1.2", "GET /b b HTTP/1.1", "GET /\tc HTTP/1.1", "\r\nGET /d HTTP/1.1", " GET /e HTTP/1.1", "GET /f HTTP/2.0", "GET /g http/1.1"}
	responses := []string{"HTTP/1.1 200 OK", "HTTP/1.1 204 No", "HTTP/1.1 304 NM", "HTTP/1.0 200 OK", "HTTP/1.1 100 C", "HTTP/1.1 103 E", "HTTP/1.1 201", "HTTP/1.1 202 ", "HTTP/1.1  203 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 20 OK",
		"HTTP/1.1 +20 OK", "HTTP/1.1 599 x", "HTTP/1.1 199 x", "HTTP/1.2 200 OK", "HTTP/2.0 200 OK", "HTTP/1.1 404 \x00x", "HTTP/1.1 999 x"}
	rounds := 4000
	if testing.Short() {
		rounds = 1000
	}
	agreed := 0
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 8))
		agreed += agreeOnRequests(t, madeUp(r, requests)) + agreeOnResponses(t, madeUp(r, responses))
	}
	if agreed < rounds/10 {
		t.Errorf("%d messages of %d streams compared", agreed, 2*rounds)
	}
}

func FuzzAgreement(f *testing.F) {
	for _, turns := range seedTurns() {
		var streams [2][]byte
		for _, tn := range turns {
			streams[tn.d] = append(streams[tn.d], tn.bytes...)
		}
		f.Add(streams[fromClient], streams[fromServer])
	}
	f.Fuzz(func(t *testing.T, client, server []byte) {
		agreeOnRequests(t, client)
		agreeOnResponses(t, server)
	})
}
