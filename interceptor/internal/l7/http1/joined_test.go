package http1

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// moody builds n exchanges of a client that now waits, now sends several requests at once, now
// keeps some under way, to a server that answers each later than the next comes.
func moody(r *rand.Rand, n int) []segment {
	w := writer{r: r, n: n}
	for answered := 0; answered < n; {
		for range 1 + r.IntN(3) {
			w.ask()
		}
		for slides := r.IntN(12); answered < w.next; slides-- {
			w.put(fromServer, answered, testResponse(r, answered), w.sent[fromClient])
			if answered++; slides > 0 {
				w.ask()
			}
		}
	}
	return w.segs
}

// spoken is a message as it was sent.
type spoken struct {
	segment       // its first
	end     int64 // offset behind it
	latest  int64 // acked of its last segment
	whole   bool  // captured from its first byte
}

// heard returns the messages of segs that begin at or after first, and with whole unset those
// that began before.
func heard(segs []segment, first int) (messages []spoken) {
	for i, s := range segs {
		n := len(messages)
		if n == 0 || messages[n-1].dir != s.dir || messages[n-1].id != s.id {
			messages = append(messages, spoken{segment: s, whole: i >= first})
			n++
		}
		m := &messages[n-1]
		m.end, m.latest = s.off+int64(len(s.bytes)), s.acked
	}
	for len(messages) > 1 && !messages[1].whole {
		messages = messages[1:]
	}
	if !messages[0].whole {
		return messages[1:]
	}
	return messages
}

// seemsToWait reports whether messages are what can be told of a client that waits for each
// response, for so many exchanges, or to the end: then nobody can know better.
func seemsToWait(messages []spoken, exchanges int) bool {
	if len(messages) > 0 && messages[0].dir == fromServer {
		messages = messages[1:]
	}
	for i := 0; i < len(messages) && i < 2*exchanges; i++ {
		m := &messages[i]
		switch {
		case (m.dir == fromClient) != (i%2 == 0):
			return false
		case i > 0 && m.dir == fromClient && m.acked != messages[i-1].end:
			return false
		case m.dir == fromServer && (m.acked != messages[i-1].end || m.latest != m.acked):
			return false
		}
	}
	return true
}

// TestPairsOfJoinedConnections joins conversations anywhere: a wrong pair is told as complete
// only where what follows is just what a client that waits would have brought, for more than
// one exchange.
func TestPairsOfJoinedConnections(t *testing.T) {
	rounds := 6000
	if testing.Short() {
		rounds = 600
	}
	var complete, doubted, hidden, wrong int
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 11))
		segs := moody(r, 12+r.IntN(12))
		first := 1 + r.IntN(len(segs)-1)
		last := len(segs)
		if r.IntN(3) == 0 {
			last = first + 1 + r.IntN(len(segs)-first)
		}
		conn := testConn()
		conn.Midstream, conn.ClientKnown = true, false
		h := newHarness(t, Config{}, 0, conn)
		reason := []reassembly.CloseReason{reassembly.CloseFIN, reassembly.CloseEndOfCapture, reassembly.CloseTimeout, reassembly.CloseRST}[r.IntN(4)]
		lossy(h, segs, first, last, nil, -1, true, reason == reassembly.CloseFIN && last == len(segs))
		h.close(reason)
		messages := heard(segs[:last], first)
		alone := len(messages) <= 2 && segs[first].dir == fromClient // no response was seen before
		unknowable := !alone && seemsToWait(messages, maxWithheld)
		for _, x := range h.records {
			if x.Request == nil || x.Response == nil {
				continue
			}
			switch right := isRight(x); {
			case right && x.Complete:
				complete++
			case right:
				doubted++
			case !x.Complete:
				wrong++
			case unknowable:
				hidden++
			default:
				t.Fatalf("seed %d, segments %d to %d of %d: told as complete: %s", seed, first, last, len(segs), summary(x))
			}
		}
	}
	t.Logf("%d pairs told as complete, %d with doubt; %d wrong with doubt, %d where nobody can know", complete, doubted, wrong, hidden)
	if complete == 0 || doubted == 0 {
		t.Error("not all ways were gone")
	}
}

// isRight reports whether x has the response to its request, as far as both are named.
func isRight(x *capstanv1.Exchange) bool {
	for _, f := range x.Response.Headers {
		if f.Name == "Id" {
			return x.Request.Target == "/"+f.Value || x.Request.Target == ""
		}
	}
	return true
}

// TestLoneRequestBehindAnother: what came before the only request seen, and was sent by a client
// that had received as much, is what the response answers.
func TestLoneRequestBehindAnother(t *testing.T) {
	halves := []string{"- > 200 1 no_request", "GET /2 0 > - no_response"}
	h := midstream(t)
	h.client("the end of a body")
	h.client(get(2))
	h.server(ok("1"))
	expect(t, h.close(reassembly.CloseFIN), halves...)

	h = midstream(t) // it is missing
	h.chunk(fromClient, []byte("x"), -1)
	h.gap(fromClient, 100)
	h.client(get(2))
	h.server(ok("1"))
	expect(t, h.close(reassembly.CloseFIN), halves...)

	h = full(t) // also where the handshake was seen
	h.gap(fromClient, 100)
	h.client(get(2))
	h.server(ok("1"))
	expect(t, h.close(reassembly.CloseFIN), halves...)

	h = midstream(t) // it was sent before the end of the response before
	h.chunk(fromClient, []byte("the end of a body"), 0)
	h.chunk(fromServer, []byte("the end of a response"), 17)
	h.client(get(2))
	h.server(ok("2"))
	expect(t, h.close(reassembly.CloseFIN), "GET /2 0 > 200 1 +")
}

// TestPairBehindALoss: where a request is missing, one that was sent with it looks like one of a
// client that waits until the response to it comes unasked.
func TestPairBehindALoss(t *testing.T) {
	start := func() *harness {
		h := full(t)
		h.client(get(1))
		h.server(ok("1"))
		h.chunk(fromServer, []byte(ok("2")), int64(2*len(get(1))+50)) // to one that is missing, as one more is
		h.gap(fromClient, int64(len(get(1))+50))
		h.client(get(4))
		h.server(ok("3"))
		return h
	}
	h := start()
	h.server(ok("4"))
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 +", "- > 200 1 no_request", "GET /4 0 > - no_response", "- > 200 1 no_request", "- > 200 1 no_request")

	h = start() // of one that waits
	h.client(get(5))
	if n := len(h.records); n != 3 {
		t.Errorf("%d records have left", n)
	}
	h.server(ok("5"))
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 +", "- > 200 1 no_request", "GET /4 0 > 200 1 +", "GET /5 0 > 200 1 +")
}

// TestWithheldPairsAreBounded: a few large ones are believed sooner than many.
func TestWithheldPairsAreBounded(t *testing.T) {
	conn := testConn()
	conn.Midstream = true
	h := newHarness(t, Config{MaxPendingBytes: 8 << 10}, 4<<10, conn)
	for i := range 4 {
		h.client(get(i))
		h.server(ok(fmt.Sprintf("%03000d", i)))
		if s := &h.shared.Stats; s.Charge > 16<<10 {
			t.Errorf("%d bytes are held", s.Charge)
		}
	}
	if n := len(h.records); n < 3 {
		t.Errorf("%d records have left", n)
	}
	h.close(reassembly.CloseFIN)
}
