package http2

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// crowd is a conversation whose streams take turns: all that may hide a header block is in
// it, at random: calls of gRPC, trailers of requests, interim responses, promises, streams that
// either end resets, numbers that the client leaves out.
type crowd struct {
	*conversation
	calls   bool // all streams are calls
	push    bool // the client allows promises
	skips   bool // it leaves out numbers
	next    uint32
	answers uint32 // the highest stream that the server sent a header section of
	promise uint32
	name    string
	steps   []func() bool // of the streams that are open; false tells that there are no more
}

// newCrowd returns one of n streams. Its encoders may be odd.
func newCrowd(r *rand.Rand, n int, odd bool) *crowd {
	c := &crowd{
		conversation: &conversation{r: r, client: newPeer(), server: newPeer(), truth: make(map[uint32]*said)},
		push:         r.IntN(3) == 0, skips: r.IntN(8) == 0, next: 1, promise: 2,
	}
	c.steady = r.IntN(3) > 0
	c.calls = r.IntN(4) > 0
	if odd {
		c.client.odd, c.server.odd = newOddEncoder(r), newOddEncoder(r)
	}
	c.client.out = []byte(preface)
	if c.push {
		c.client.settings(0x3, 100)
	} else {
		c.client.settings(0x2, 0)
	}
	c.server.settings(0x3, 100)
	most := 1 + r.IntN(5)
	for n > 0 || len(c.steps) > 0 {
		if n > 0 && len(c.steps) < most && r.IntN(3) == 0 {
			n--
			c.open()
			continue
		}
		if len(c.steps) > 0 {
			if i := r.IntN(len(c.steps)); !c.steps[i]() {
				c.steps = slices.Delete(c.steps, i, i+1)
			}
		}
		c.pause()
	}
	c.say(fromClient)
	c.say(fromServer)
	return c
}

// pause ends a segment at times, with a frame of the connection in it.
func (c *crowd) pause() {
	d, p := fromClient, c.client
	if c.r.IntN(2) == 0 {
		d, p = fromServer, c.server
	}
	switch c.r.IntN(12) {
	case 0:
		p.frame(framePing, uint8(c.r.IntN(2)), 0, make([]byte, pingLen))
	case 1:
		p.frame(frameWindowUpdate, 0, 0, u32(1000))
	case 2:
		p.frame(frameSettings, flagAck, 0)
	case 3:
		if c.r.IntN(20) == 0 {
			c.push = !c.push
			on := uint32(0)
			if c.push {
				on = 1
			}
			c.client.settings(0x2, on)
			c.say(fromClient)
		}
	}
	if c.r.IntN(2) == 0 {
		c.say(d)
	}
}

// open opens a stream, of which request and response go on side by side.
func (c *crowd) open() {
	id := c.next
	c.next += 2
	if c.skips && c.r.IntN(5) == 0 {
		c.next += 2
	}
	s := c.said(id)
	call := c.calls || c.r.IntN(3) == 0
	s.method, s.path = "POST", fmt.Sprint("/s/m", c.r.IntN(4))
	fields := []string{":method", s.method, ":scheme", "http", ":authority", "h", ":path", s.path}
	if call {
		fields = append(fields, "content-type", "application/grpc", "te", "trailers")
		s.request["content-type=application/grpc"]++
		s.request["te=trailers"]++
	}
	ended := c.r.IntN(2) == 0 && !call
	c.block(c.client, id, ended, append(fields, c.fields(s.request)...)...)
	c.say(fromClient)
	gone := uint32(0) // if it was reset: no stream up to this was opened then
	requests, responses := c.r.IntN(4), c.r.IntN(6)
	head, over := false, false
	request := func() {
		switch requests--; {
		case requests >= 0:
			s.reqSize += c.piece(c.client, id)
		case !call && c.r.IntN(3) == 0:
			c.block(c.client, id, true, append(c.fields(s.reqTrail), "x-end", "1")...)
			s.reqTrail["x-end=1"]++
			ended = true
		default:
			c.client.data(id, true, nil)
			ended = true
		}
	}
	response := func() {
		c.say(fromClient) // what it answers
		c.answers = max(c.answers, id)
		switch {
		case !head && !call && c.r.IntN(5) == 0:
			c.block(c.server, id, false, ":status", "103", "link", fmt.Sprint(c.r.IntN(9)))
		case !head:
			head, s.status = true, []uint32{200, 404, 418}[c.r.IntN(3)]
			fields := append([]string{":status", fmt.Sprint(s.status)}, c.fields(s.response)...)
			if call {
				fields = append(fields, "content-type", "application/grpc")
				s.response["content-type=application/grpc"]++
			}
			over = c.r.IntN(8) == 0 // without a body
			c.block(c.server, id, over, fields...)
		case c.push && !call && c.r.IntN(4) == 0:
			c.promises(id)
		case responses > 0:
			responses--
			s.respSize += c.piece(c.server, id)
		case call || c.r.IntN(2) == 0:
			c.block(c.server, id, true, append(c.fields(s.respTrai), "grpc-status", "0")...)
			s.respTrai["grpc-status=0"]++
			over = true
		default:
			c.server.data(id, true, nil)
			over = true
		}
	}
	c.steps = append(c.steps, func() bool {
		switch c.r.IntN(60) {
		case 0:
			if gone == 0 && !(ended && over) {
				c.client.frame(frameRSTStream, 0, id, u32(8))
				c.say(fromClient)
				gone, ended = c.next, true
				responses = min(responses, 1) // what is under way comes yet
			}
		case 1:
			if !over {
				c.server.frame(frameRSTStream, 0, id, u32(2))
				return false
			}
		}
		switch {
		case gone > 0 && c.answers >= gone:
			return false // it has read that
		case !ended && c.r.IntN(2) == 0:
			request()
		case !over:
			response()
		case !ended:
			request()
		}
		return !(ended && over)
	})
}

func (c *crowd) said(id uint32) *said {
	s := &said{request: make(map[string]int), response: make(map[string]int), reqTrail: make(map[string]int), respTrai: make(map[string]int)}
	c.truth[id] = s
	return s
}

// piece writes a frame of DATA and returns the size of its body.
func (c *crowd) piece(p *peer, id uint32) int {
	b := []byte(strings.Repeat("all that is written ", 1+c.r.IntN(60)))
	if c.r.IntN(8) == 0 {
		b = []byte(strings.Repeat("all that is written ", 1+c.r.IntN(800)))
	}
	c.padded(p, frameData, 0, id, b)
	return len(b)
}

// promises makes the server answer what nobody asked for.
func (c *crowd) promises(on uint32) {
	id := c.promise
	c.promise += 2
	s := c.said(id)
	s.method, s.path = "GET", fmt.Sprint("/pushed/", id)
	b := c.server.encode(append([]string{":method", s.method, ":scheme", "http", ":authority", "h", ":path", s.path}, c.fields(s.request)...)...)
	c.server.frame(framePushPromise, flagEndHeaders, on, u32(id), b)
	head := false
	c.steps = append(c.steps, func() bool {
		if !head {
			head, s.status = true, 200
			c.block(c.server, id, false, append([]string{":status", "200"}, c.fields(s.response)...)...)
			return true
		}
		s.respSize += c.piece(c.server, id)
		c.server.data(id, true, nil)
		return false
	})
}

// spoilt plays the conversation without some of its segments, and fails if anything that
// is told is not true. It returns how many of the fields of which streams were known.
func (c *crowd) spoilt(t testing.TB, cfg Config, segments []segment, lost func(i int) bool) (known, all int) {
	h := newHarness(t, cfg, 100, testConn(false))
	for i, s := range segments {
		if lost(i) {
			h.gap(s.d, len(s.bytes))
		} else {
			h.chunk(s.d, s.bytes, s.acked)
		}
	}
	for _, x := range h.close(reassembly.CloseFIN) {
		if c.truth[x.StreamId] == nil && x.Request == nil && x.Response.Status == 0 && len(x.Response.Headers) == 0 && slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_PLACE_GUESSED) {
			continue // nothing is said of a stream that padding looked like
		}
		v := c.verify(x)
		if v.wrong != "" {
			t.Fatalf("%s: %s is wrong in %s", c.name, v.wrong, tell([]*capstanv1.Exchange{x}))
		}
		known += v.fields
		all += c.truth[x.StreamId].fields()
	}
	return known, all
}

// TestTableOutlastsLosses takes segments away, each alone and many at random. HPACK's
// table is known on where no header block was among them, and never taken for known where one was:
// whatever the encoders do, unless fields are inferred.
func TestTableOutlastsLosses(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   Config
		odd   bool
		least float64 // share of the fields
	}{
		{name: "proven", least: 0.895},
		{name: "proven, odd encoders", odd: true, least: 0.9},
		{name: "inferred", cfg: Config{InferFields: true}, least: 0.905},
	} {
		t.Run(test.name, func(t *testing.T) {
			known, all := 0, 0
			for seed := range uint64(60) {
				r := rand.New(rand.NewPCG(seed, 11))
				c := newCrowd(r, 30, test.odd)
				segments := c.cut(mss)
				for _, loss := range []int{200, 50, 10} {
					c.name = fmt.Sprint("seed ", seed, ", one of ", loss)
					k, a := c.spoilt(t, test.cfg, segments, func(int) bool { return r.IntN(loss) == 0 })
					known, all = known+k, all+a
				}
				for i := 1; i < len(segments) && seed%6 == 0; i++ {
					c.name = fmt.Sprint("seed ", seed, ", segment ", i)
					k, a := c.spoilt(t, test.cfg, segments, func(j int) bool { return i == j })
					known, all = known+k, all+a
				}
			}
			share := float64(known) / float64(all)
			t.Logf("%.1f %% of %d fields are known", 100*share, all)
			if share < test.least {
				t.Errorf("only %.3f of the fields are known", share)
			}
		})
	}
}

// TestTableIsKnownOn: a segment without a header block is lost. What is behind it shows that
// there was none, or doesn't.
func TestTableIsKnownOn(t *testing.T) {
	call := func(path string) []string { return append(get(path), "content-type", "application/grpc", "x", "y") }
	tests := []struct {
		name string
		lose func(k *talk)
		id   uint32 // of the next exchange
		want string
	}{
		{"nothing", func(*talk) {}, 3, "3 GET http h /1 {content-type=application/grpc x=y} 0 → []200 {a=b} 0 complete"},
		{"a window of the client's", func(k *talk) {
			k.gap(fromClient, frameHeaderLen+windowLen)
		}, 3, "3 GET http h /1 {content-type=application/grpc x=y} 0 → []200 {a=b} 0 PLACE_GUESSED"},
		{"a call of the client's", func(k *talk) {
			k.client.headers(3, true, call("/1")...)
			k.gap(fromClient, len(k.client.take()))
		}, 5, "5 GET http   {?=? ?=? ?=? ?=?} 0 → []200 {a=b} 0 HEADERS_UNKNOWN PLACE_GUESSED"},
		{"a window of the server's", func(k *talk) {
			k.gap(fromServer, frameHeaderLen+windowLen)
		}, 3, "3 GET http h /1 {content-type=application/grpc x=y} 0 → []200 {a=b} 0 PLACE_GUESSED"},
		{"the end of a response, or its trailers", func(k *talk) {
			k.client.headers(3, true, call("/1")...)
			k.server.headers(3, false, ok("a", "b")...)
			k.flush()
			k.gap(fromServer, 40)
		}, 5, "5 GET http h /1 {content-type=application/grpc x=y} 0 → []200 {?=?} 0 HEADERS_UNKNOWN PLACE_GUESSED"},
		{"the trailers of a response that ends twice", func(k *talk) {
			k.client.headers(3, true, call("/1")...)
			k.server.headers(3, false, ok("a", "b")...)
			k.flush()
			k.gap(fromServer, len(k.server.headers(3, true, "x-sum", "1").take()))
			k.server.data(3, true, nil)
			k.flush()
		}, 5, "5 GET http h /1 {content-type=application/grpc x=y} 0 → []200 {?=?} 0 HEADERS_UNKNOWN PLACE_GUESSED"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newTalk(t, Config{})
			k.client.headers(1, true, call("/1")...)
			k.server.headers(1, true, ok("a", "b")...)
			k.flush()
			test.lose(k)
			k.client.headers(test.id, true, call("/1")...)
			k.flush()
			k.server.headers(test.id, true, ok("a", "b")...)
			k.flush()
			told := strings.Split(strings.TrimSpace(tell(k.records)), "\n")
			if got := told[len(told)-1]; got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			k.end()
		})
	}
}

// FuzzLosses takes any segments of a conversation away: what is told is true, of any encoders,
// or of usual ones if fields are inferred.
func FuzzLosses(f *testing.F) {
	f.Add(uint64(1), true, []byte{10, 20})
	f.Add(uint64(2), false, []byte{200, 3, 3, 3})
	f.Fuzz(func(t *testing.T, seed uint64, odd bool, gaps []byte) {
		c := newCrowd(rand.New(rand.NewPCG(seed, 12)), 12, odd)
		next := 1
		c.spoilt(t, Config{InferFields: !odd}, c.cut(mss), func(i int) bool {
			if len(gaps) == 0 || i < next {
				return false
			}
			next, gaps = i+1+int(gaps[0]), gaps[1:]
			return true
		})
	})
}
