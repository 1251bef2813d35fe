package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/capture"
	capstanv1 "capstan/proto/capstan/v1"
)

// part is a frame of numbered exchanges: side -1 and no exchange for those without
// payload.
type part struct {
	frame    capture.Frame
	side     int
	exchange int
	payload  string
	seq      uint32
}

// numbered returns numbered exchanges on one connection, each request's number in
// its target, each response's in a field. The parts are its frames, in order.
func numbered(r *rand.Rand, exchanges, window int) []part {
	var w wire
	var parts []part
	c := w.connect(40000)
	flush := func(side, exchange int, payload string, seq uint32) {
		for _, f := range w.frames {
			parts = append(parts, part{f, side, exchange, payload, seq})
		}
		w.frames = nil
	}
	flush(-1, -1, "", 0)
	say := func(side, exchange int, message string) {
		for len(message) > 0 {
			n := min(len(message), 1+r.IntN(600))
			seq := c.seq[side]
			c.frame(side, 0x18, []byte(message[:n]))
			flush(side, exchange, message[:n], seq)
			message = message[n:]
		}
	}
	for n := 0; n < exchanges; {
		burst := min(1+r.IntN(window), exchanges-n)
		for i := range burst {
			say(0, n+i, fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", n+i, n, strings.Repeat("q", n)))
		}
		for i := range burst {
			body := strings.Repeat("s", r.IntN(2000))
			head := fmt.Sprintf("HTTP/1.1 200 OK\r\nId: %d\r\n", n+i)
			if r.IntN(2) == 0 {
				say(1, n+i, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body))
			} else {
				say(1, n+i, fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, 1+len(body), "x"+body))
			}
		}
		n += burst
	}
	c.frame(0, 0x11, nil)
	c.frame(1, 0x11, nil)
	c.frame(0, 0x10, nil)
	flush(-1, -1, "", 0)
	return parts
}

// maxOvertake is how many places a frame may be late, and what is sent again is at
// least that late: it can't overtake what it repeats.
const maxOvertake = 5

// repeat sends some payload again: a segment as it was, or the two last of a side
// as one, or a part of one.
func repeat(r *rand.Rand, parts []part) (out []part) {
	var w wire
	var later []part // to be sent again
	var due []int    // when
	c := &talk{w: &w, port: 40000}
	last := [2]*part{}
	for i := range parts {
		p := &parts[i]
		out = append(out, *p)
		for len(due) > 0 && due[0] <= i {
			out, later, due = append(out, later[0]), later[1:], due[1:]
		}
		if p.side < 0 {
			continue
		}
		again, seq := p.payload, p.seq
		switch q := last[p.side]; r.IntN(12) {
		case 0:
		case 1:
			// Of one message: nobody sends again what has been acknowledged.
			if q != nil && q.exchange == p.exchange && q.seq+uint32(len(q.payload)) == p.seq {
				again, seq = q.payload+p.payload, q.seq
			}
		case 2:
			from := r.IntN(len(p.payload))
			again, seq = p.payload[from:], p.seq+uint32(from)
		default:
			last[p.side] = p
			continue
		}
		last[p.side] = p
		c.seq = [2]uint32{}
		c.seq[p.side] = seq
		c.frame(p.side, 0x18, []byte(again))
		f := w.frames[len(w.frames)-1]
		copy(f.Data[14+20+8:14+20+12], p.frame.Data[14+20+8:14+20+12]) // it acknowledges what the first did
		later, due = append(later, part{f, p.side, p.exchange, again, seq}), append(due, i+maxOvertake)
	}
	return out
}

// shuffle lets frames overtake others that are less than window places before.
func shuffle(r *rand.Rand, parts []part, window int) {
	late := make(map[*byte]int) // by frame
	for i := range parts {
		late[&parts[i].frame.Data[0]] = i
		if i >= 3 { // the handshake tells who is who
			late[&parts[i].frame.Data[0]] += r.IntN(window)
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return late[&a.frame.Data[0]] - late[&b.frame.Data[0]] })
}

// tell feeds the frames in the order given, 10 µs apart.
func tell(t *testing.T, parts []part) []*capstanv1.Exchange {
	t.Helper()
	var records []*capstanv1.Exchange
	e := New(Config{Exchange: exchange.Config{Keep: exchange.NewKeep(100, nil, nil), Emit: exchangetest.Keep(&records)}})
	for i := range parts {
		f := parts[i].frame
		f.Timestamp = int64(i+1) * 10_000
		e.Frame(&f)
	}
	e.Finish()
	s := e.Snapshot()
	checkSnapshot(t, &s, records)
	return records
}

// pairsOf returns the numbers of the exchanges told as pairs, true for those told
// as complete, and fails for a pair that is none and for a half told twice.
func pairsOf(t *testing.T, records []*capstanv1.Exchange) map[int]bool {
	t.Helper()
	pairs, halves := make(map[int]bool), make(map[string]bool)
	once := func(half string) {
		if halves[half] {
			t.Errorf("%s is told twice", half)
		}
		halves[half] = true
	}
	for _, x := range records {
		request, response := "", ""
		if q := x.Request; q != nil && q.Target != "" {
			request = strings.TrimPrefix(q.Target, "/")
			once("request " + request)
		}
		if s := x.Response; s != nil && len(s.Headers) > 0 {
			response = s.Headers[0].Value
			once("response " + response)
		}
		if request == "" || response == "" {
			continue
		}
		if request != response {
			t.Errorf("request %s is given response %s: %v", request, response, x)
		}
		n, err := strconv.Atoi(request)
		if err != nil {
			t.Fatal(err)
		}
		pairs[n] = x.Complete
	}
	return pairs
}

// TestMangledConversations takes conversations in random segments, repeated,
// overlapping and out of order, then with frames missing. With nothing missing a
// client that waits is told in full; whatever is missing, no response is given to
// another's request, no half told twice, and nearly all of what is whole is told.
func TestMangledConversations(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 40
	}
	const exchanges = 20
	whole, told := 0, 0
	for round := range rounds {
		r := rand.New(rand.NewPCG(uint64(round), 1))
		window := 1 + r.IntN(2)*r.IntN(4)
		parts := repeat(r, numbered(r, exchanges, window))
		shuffle(r, parts, 1+r.IntN(maxOvertake))
		pairs := pairsOf(t, tell(t, parts))
		for n := range exchanges {
			if window == 1 && !pairs[n] {
				t.Errorf("round %d: exchange %d is not told as complete", round, n)
			}
		}
		touched := make(map[int]bool)
		lossy := parts[:0:0]
		for _, p := range parts {
			if p.side >= 0 && r.IntN(100) == 0 {
				touched[p.exchange] = true
				continue
			}
			lossy = append(lossy, p)
		}
		pairs = pairsOf(t, tell(t, lossy))
		for n := range exchanges {
			if window == 1 && !touched[n] {
				whole++
				if _, ok := pairs[n]; ok {
					told++
				}
			}
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	t.Logf("of %d exchanges that nothing is missing of, with others around them, %d are told", whole, told)
	if told*100 < whole*95 {
		t.Error("that is less than 95 of 100")
	}
}
