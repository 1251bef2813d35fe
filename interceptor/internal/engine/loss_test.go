package engine

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	capstanv1 "capstan/proto/capstan/v1"
)

// outcome is what was told of an exchange: in one record, and as complete.
type outcome struct{ told, whole bool }

// play feeds the frames that are not lost, and holds that what is told was said.
func (s *scene) play(t *testing.T, lost func(frame int) bool) []outcome {
	t.Helper()
	var records []*capstanv1.Exchange
	e := New(Config{Exchange: exchange.Config{Keep: exchange.NewKeep(1<<16, nil, nil), Emit: exchangetest.Keep(&records)}})
	for i := range s.parts {
		if !lost(i) {
			f := s.parts[i].frame
			e.Frame(&f)
		}
	}
	e.Finish()
	snapshot := e.Snapshot()
	checkSnapshot(t, &snapshot, records)
	told := make([]outcome, len(s.said))
	for _, x := range records {
		s.judge(t, x, told)
	}
	return told
}

// judge holds a record against what was said.
func (s *scene) judge(t *testing.T, x *capstanv1.Exchange, told []outcome) {
	t.Helper()
	asked, answered := s.whose(x)
	if asked >= 0 && answered >= 0 && asked != answered {
		t.Errorf("request %d is given response %d: %v", asked, answered, x)
		return
	}
	if asked >= 0 && x.Request != nil {
		s.said[asked].verifyRequest(t, x)
	}
	if answered >= 0 && x.Response != nil {
		s.said[answered].verifyResponse(t, x)
	}
	if asked < 0 || asked != answered {
		return
	}
	if told[asked].told {
		t.Errorf("exchange %d is told twice: %v", asked, x)
	}
	told[asked] = outcome{true, x.Complete}
	if truth := s.said[asked]; x.Connection != nil && x.Complete && (len(x.Websocket.GetMessages()) != truth.messages || x.Tls.GetServerName() != truth.name) {
		t.Errorf("told as complete: %v", x)
	}
}

func (s *said) verifyRequest(t *testing.T, x *capstanv1.Exchange) {
	t.Helper()
	q := x.Request
	verify(t, x, q.Headers, q.Trailers, s.request)
	verifyBody(t, x, q.Body, s.sent)
	if q.Method != "" && q.Method != s.method {
		t.Errorf("the method was %s: %v", s.method, x)
	}
}

func (s *said) verifyResponse(t *testing.T, x *capstanv1.Exchange) {
	t.Helper()
	p := x.Response
	verify(t, x, p.Headers, p.Trailers, s.response)
	if x.Request != nil { // else nobody knows whether it has a body
		verifyBody(t, x, p.Body, s.answered)
	}
	if p.Status != 0 && p.Status != s.status {
		t.Errorf("the status was %d: %v", s.status, x)
	}
	for _, status := range p.InterimStatuses {
		if !slices.Contains(s.interim, status) {
			t.Errorf("interim statuses were %v: %v", s.interim, x)
		}
	}
}

// whose returns which request and which response a record has, -1 for those that have none
// or don't say.
func (s *scene) whose(x *capstanv1.Exchange) (asked, answered int) {
	asked, answered = -1, -1
	if x.Connection != nil {
		n := slices.IndexFunc(s.said, func(q *said) bool { return q.protocol == x.Protocol })
		return n, n
	}
	if x.StreamId != 0 {
		n := int(x.StreamId-1) / 2
		if x.Request != nil {
			asked = n
		}
		if x.Response != nil {
			answered = n
		}
		return asked, answered
	}
	if q := x.Request; q != nil && !slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_HEADERS_CUT) {
		asked = slices.IndexFunc(s.said, func(x *said) bool { return x.target == q.Target })
	}
	if p := x.Response; p != nil {
		for _, f := range p.Headers {
			if f.Name == "Id" {
				answered, _ = strconv.Atoi(f.Value)
			}
		}
	}
	return asked, answered
}

// verify holds that no field is told that was not said.
func verify(t *testing.T, x *capstanv1.Exchange, headers, trailers []*capstanv1.Header, truth map[string]bool) {
	t.Helper()
	for _, f := range slices.Concat(headers, trailers) {
		if !f.NameUnknown && !f.ValueUnknown && !truth[f.Name+": "+f.Value] {
			t.Errorf("%s: %s was not said: %v", f.Name, f.Value, x)
		}
	}
}

// verifyBody holds that no byte of a body is told that was not sent, and none missing
// that is told as complete.
func verifyBody(t *testing.T, x *capstanv1.Exchange, b *capstanv1.Body, truth string) {
	t.Helper()
	if b != nil && (!strings.HasPrefix(truth, string(b.Content)) || int(b.Size) > len(truth) || x.Complete && int(b.Size) != len(truth)) {
		t.Errorf("a body of %d bytes is told as one of %d: %v", len(truth), b.Size, x)
	}
}

// shares counts exchanges.
type shares struct {
	intact, whole int // of which nothing is missing, and of those told as complete
	seen, told    int // of which anything was captured, and of those told in one record
}

// add plays s without what is lost.
func (c *shares) add(t *testing.T, s *scene, lost func(frame int) bool) {
	t.Helper()
	missing, there := make(map[int]bool), make(map[int]bool)
	for i, p := range s.parts {
		if lost(i) {
			missing[p.exchange] = true
		} else {
			there[p.exchange] = true
		}
	}
	for n, o := range s.play(t, lost) {
		if there[n] {
			c.seen++
			if o.told {
				c.told++
			}
		}
		if !missing[n] {
			c.intact++
			if o.whole {
				c.whole++
			}
		}
	}
}

// percent returns the shares in tenths of a percent.
func (c *shares) percent() [2]float64 {
	share := func(n, of int) float64 { return float64(1000*n/of) / 10 }
	return [2]float64{share(c.whole, c.intact), share(c.told, c.seen)}
}

const numLosses = 4

// losses are the ways to lose frames: each plays s several times.
var losses = [numLosses]struct {
	name string
	play func(s *scene, each func(lost func(frame int) bool))
}{
	{"each frame alone", func(s *scene, each func(func(int) bool)) {
		for i := range s.parts {
			each(func(frame int) bool { return frame == i })
		}
	}},
	{"all before each frame", func(s *scene, each func(func(int) bool)) {
		for i := range s.parts {
			each(func(frame int) bool { return frame < i })
		}
	}},
	{"1 %", atRandom(1)},
	{"5 %", atRandom(5)},
}

func atRandom(percent int) func(s *scene, each func(func(int) bool)) {
	return func(s *scene, each func(func(int) bool)) {
		for range 120 / percent {
			lost := make([]bool, len(s.parts))
			for i := range lost {
				lost[i] = s.r.IntN(100) < percent
			}
			each(func(frame int) bool { return lost[frame] })
		}
	}
}

// TestLosses plays conversations of all kinds with frames missing: whatever is, the ledger
// balances, no response is given to another's request, and nothing is told that was not said,
// nor as complete what is not. Of the exchanges that nothing is missing of, at least so many
// of a hundred are told as complete, and of those that anything was captured of so many in one
// record, in each way to lose.
func TestLosses(t *testing.T) {
	for _, k := range []struct {
		name  string
		play  func(*scene)
		least [numLosses][2]float64
	}{
		{"keep-alive", inBursts(1), [numLosses][2]float64{{99, 91}, {97, 75}, {99, 98}, {99, 91}}},
		{"pipelined", inBursts(4), [numLosses][2]float64{{81, 79}, {13, 9}, {88, 86}, {59, 52}}},
		{"until close", untilClose, [numLosses][2]float64{{98, 95}, {91, 82}, {98, 97}, {96, 91}}},
		{"100-continue", expecting, [numLosses][2]float64{{99, 95}, {91, 64}, {99, 97}, {99, 89}}},
		{"upgrade", upgrading, [numLosses][2]float64{{98, 95}, {57, 65}, {99, 98}, {98, 93}}},
		{"CONNECT", tunnelling, [numLosses][2]float64{{99, 92}, {96, 71}, {99, 97}, {99, 90}}},
		{"CONNECT, TLS", encrypting, [numLosses][2]float64{{93, 95}, {59, 95}, {99, 99}, {95, 96}}},
		{"SOCKS", throughSocks, [numLosses][2]float64{{99, 93}, {95, 75}, {99, 97}, {99, 90}}},
		{"HTTP/2", overHTTP2(false), [numLosses][2]float64{{85, 96}, {6, 75}, {91, 97}, {68, 90}}},
		{"gRPC", overHTTP2(true), [numLosses][2]float64{{79, 97}, {7, 74}, {89, 98}, {54, 93}}},
	} {
		t.Run(k.name, func(t *testing.T) {
			hello := clientHello(t, "inner.example")
			var got [numLosses]shares
			for seed := range uint64(10) {
				s := &scene{r: rand.New(rand.NewPCG(seed, 3)), hello: hello}
				k.play(s)
				for n, o := range s.play(t, func(int) bool { return false }) {
					if !o.whole {
						t.Errorf("seed %d: exchange %d is not told as complete with nothing missing", seed, n)
					}
				}
				for i := range losses {
					losses[i].play(s, func(lost func(int) bool) { got[i].add(t, s, lost) })
				}
				if t.Failed() {
					t.FailNow()
				}
			}
			for i, l := range losses {
				p := got[i].percent()
				t.Logf("without %s: nothing is missing of %d exchanges, %.1f %% of those are told as complete; anything was captured of %d, %.1f %% of those are told in one record",
					l.name, got[i].intact, p[0], got[i].seen, p[1])
				if p[0] < k.least[i][0] || p[1] < k.least[i][1] {
					t.Errorf("that is less than %v", k.least[i])
				}
			}
		})
	}
}
