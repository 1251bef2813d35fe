package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// segment is what one end sends at once.
type segment struct {
	d     flow.Direction
	bytes []byte
	acked int64
}

// said is what one stream of a conversation says.
type said struct {
	method, path       string
	status             uint32
	request, response  map[string]int // "name=value" and how often
	reqSize, respSize  int
	reqTrail, respTrai map[string]int
}

// conversation is a connection of n streams with its truth.
type conversation struct {
	r              *rand.Rand
	client, server *peer
	turns          []segment // uncut
	truth          map[uint32]*said
	offset         [2]int64
}

func newConversation(r *rand.Rand, n int) *conversation {
	c := &conversation{r: r, client: newPeer(), server: newPeer(), truth: make(map[uint32]*said)}
	c.client.out = []byte(preface)
	c.client.settings(0x2, 0)
	c.server.settings(0x3, 100).frame(frameSettings, flagAck, 0)
	c.say(fromClient)
	c.say(fromServer)
	c.client.frame(frameSettings, flagAck, 0)
	for id := uint32(1); n > 0; {
		burst := min(n, 1+r.IntN(4))
		n -= burst
		var ids []uint32
		for range burst {
			ids = append(ids, id)
			c.request(id)
			if r.IntN(3) == 0 {
				c.say(fromClient)
			}
			id += 2
		}
		c.say(fromClient)
		r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for _, i := range ids {
			c.response(i)
			if r.IntN(3) == 0 {
				c.say(fromServer)
			}
		}
		c.say(fromServer)
	}
	return c
}

func (c *conversation) say(d flow.Direction) {
	p := c.client
	if d == fromServer {
		p = c.server
	}
	if b := p.take(); len(b) > 0 {
		c.turns = append(c.turns, segment{d, b, c.offset[d.Reverse()]})
		c.offset[d] += int64(len(b))
	}
}

// fields returns pairs of names and values, some of them again and again.
func (c *conversation) fields(seen map[string]int) (fields []string) {
	for range c.r.IntN(6) {
		name := fmt.Sprintf("x-name-%d", c.r.IntN(12))
		value := fmt.Sprintf("value %d", c.r.IntN(4))
		switch c.r.IntN(12) {
		case 0:
			value = strings.Repeat("v", c.r.IntN(900))
		case 1:
			value = fmt.Sprint(c.r.Uint64())
		}
		fields = append(fields, name, value)
		seen[name+"="+value]++
	}
	return fields
}

// block writes a header block, at times in pieces and with a new table size.
func (c *conversation) block(p *peer, id uint32, end bool, fields ...string) {
	if c.r.IntN(15) == 0 {
		p.x.SetMaxDynamicTableSize(uint32(c.r.IntN(3000)))
	}
	b := p.encode(fields...)
	flags := uint8(0)
	if end {
		flags = flagEndStream
	}
	if len(b) < 2 || c.r.IntN(4) > 0 {
		p.frame(frameHeaders, flags|flagEndHeaders, id, b)
		return
	}
	at := 1 + c.r.IntN(len(b)-1)
	p.frame(frameHeaders, flags, id, b[:at])
	p.frame(frameContinuation, flagEndHeaders, id, b[at:])
}

// body writes DATA frames and returns their size.
func (c *conversation) body(p *peer, id uint32, end bool) (size int) {
	for range c.r.IntN(3) {
		n := c.r.IntN(3000)
		if c.r.IntN(10) == 0 {
			n = c.r.IntN(defaultMaxFrame)
		}
		b := make([]byte, n)
		for i := range b {
			n := c.r.Uint32()
			b[i] = byte(n) & byte(n>>8) // many zeros
		}
		size += n
		p.data(id, false, b)
	}
	if end {
		p.data(id, true, nil)
	}
	return size
}

func (c *conversation) request(id uint32) {
	s := &said{request: make(map[string]int), response: make(map[string]int), reqTrail: make(map[string]int), respTrai: make(map[string]int)}
	c.truth[id] = s
	s.method = []string{"GET", "POST", "PUT"}[c.r.IntN(3)]
	s.path = []string{"/", "/a", "/b/" + fmt.Sprint(id)}[c.r.IntN(3)]
	fields := append([]string{":method", s.method, ":scheme", "http", ":authority", "h", ":path", s.path}, c.fields(s.request)...)
	if s.method == "GET" {
		c.block(c.client, id, true, fields...)
		return
	}
	c.block(c.client, id, false, fields...)
	s.reqSize = c.body(c.client, id, true)
}

func (c *conversation) response(id uint32) {
	s := c.truth[id]
	if c.r.IntN(6) == 0 {
		c.block(c.server, id, false, ":status", "103", "link", "x")
	}
	s.status = []uint32{200, 204, 404, 418}[c.r.IntN(4)]
	c.block(c.server, id, false, append([]string{":status", fmt.Sprint(s.status)}, c.fields(s.response)...)...)
	if c.r.IntN(3) > 0 {
		s.respSize = c.body(c.server, id, true)
		return
	}
	s.respSize = c.body(c.server, id, false)
	c.block(c.server, id, true, append(c.fields(s.respTrai), "grpc-status", "0")...)
	s.respTrai["grpc-status=0"]++
}

// cut returns the conversation in segments as next says.
func (c *conversation) cut(next func() int) (segments []segment) {
	for _, s := range c.turns {
		for b := s.bytes; len(b) > 0; {
			n := min(next(), len(b))
			segments = append(segments, segment{s.d, b[:n], s.acked})
			b = b[n:]
		}
	}
	return segments
}

// mss cuts as TCP does.
func mss() int { return 1448 }

func play(t testing.TB, segments []segment) *harness {
	h := newHarness(t, Config{}, 100, testConn(false))
	for _, s := range segments {
		h.time = 0
		h.chunk(s.d, s.bytes, s.acked)
	}
	return h
}

func TestConversationsAreToldInFull(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := newConversation(r, 30)
		var first string
		for _, next := range []func() int{mss, func() int { return 1 << 30 }, func() int { return 1 }, func() int { return 1 + r.IntN(100) }} {
			h := play(t, c.cut(next))
			records := h.close(reassembly.CloseFIN)
			if s := h.shared.Stats; s.Resyncs > 0 || s.UnknownFields > 0 || s.SkippedBytes > 0 || len(records) != len(c.truth) {
				t.Fatalf("seed %d: %d records, want %d: %+v", seed, len(records), len(c.truth), s)
			}
			for _, x := range records {
				s := c.truth[x.StreamId]
				if !x.Complete || x.Request.Method != s.method || x.Request.Target != s.path || x.Response.Status != s.status ||
					int(x.Request.Body.Size) != s.reqSize || int(x.Response.Body.Size) != s.respSize {
					t.Fatalf("seed %d: %v, want %+v", seed, x, s)
				}
				if v := c.verify(x); v.wrong != "" || v.fields != s.fields() {
					t.Fatalf("seed %d: %+v of %d fields: %v", seed, v, s.fields(), x)
				}
			}
			if told := tell(records); first == "" {
				first = told
			} else if told != first {
				t.Fatalf("seed %d: the cut matters:\n%s\n%s", seed, told, first)
			}
		}
	}
}

func (s *said) fields() (n int) {
	for _, m := range []map[string]int{s.request, s.response, s.reqTrail, s.respTrai} {
		for _, k := range m {
			n += k
		}
	}
	return n
}

// verdict is how a record stands to the truth.
type verdict struct {
	wrong  string // the first thing that is not true
	fields int    // fields known
}

// verify holds everything that x says against the truth.
func (c *conversation) verify(x *capstanv1.Exchange) (v verdict) {
	s := c.truth[x.StreamId]
	if s == nil {
		return verdict{wrong: "no such stream"}
	}
	check := func(what string, told bool) {
		if v.wrong == "" && told {
			v.wrong = what
		}
	}
	section := func(what string, fields []*capstanv1.Header, truth map[string]int) {
		left := make(map[string]int)
		for k, n := range truth {
			left[k] = n
		}
		for _, f := range fields {
			switch {
			case f.NameUnknown:
			case f.ValueUnknown:
				found := false
				for k := range truth {
					found = found || strings.HasPrefix(k, f.Name+"=")
				}
				check(what+" "+f.Name, !found)
			default:
				v.fields++
				left[f.Name+"="+f.Value]--
				check(what+" "+f.Name+"="+f.Value, left[f.Name+"="+f.Value] < 0)
			}
		}
	}
	if q := x.Request; q != nil {
		check("method "+q.Method, q.Method != "" && q.Method != s.method)
		check("path "+q.Target, q.Target != "" && q.Target != s.path)
		check("authority "+q.Authority, q.Authority != "" && q.Authority != "h")
		check("request body", int(q.Body.Size) > s.reqSize)
		section("request", q.Headers, s.request)
		section("request trailer", q.Trailers, s.reqTrail)
	}
	if p := x.Response; p != nil {
		check(fmt.Sprintf("status %d", p.Status), p.Status != 0 && p.Status != s.status)
		check("response body", int(p.Body.Size) > s.respSize)
		section("response", p.Headers, s.response)
		section("response trailer", p.Trailers, s.respTrai)
	}
	return v
}

// TestNoHeaderIsEverWrong joins late and drops segments at random: whatever is
// told is true, and most is told.
func TestNoHeaderIsEverWrong(t *testing.T) {
	for _, mode := range []struct {
		name  string
		late  bool
		loss  int // one of so many segments
		least float64
	}{
		{name: "74 joined late", late: true, least: 0.7}, {name: "1 % lost", loss: 100, least: 0.7},
		{name: "5 % lost", loss: 20, least: 0.4}, {name: "joined late, 5 % lost", late: true, loss: 20, least: 0.35},
	} {
		t.Run(mode.name, func(t *testing.T) {
			told, all, pairs, streams := 0, 0, 0, 0
			for seed := range uint64(60) {
				r := rand.New(rand.NewPCG(seed, 2))
				c := newConversation(r, 60)
				segments := c.cut(mss)
				if seed%2 == 0 {
					segments = c.cut(func() int { return 100 + r.IntN(1400) })
				}
				conn := testConn(mode.late)
				h := newHarness(t, Config{}, 100, conn)
				skip := 0
				if mode.late {
					skip = 1 + r.IntN(len(segments)/2)
				}
				after := make(map[uint32]bool) // streams that opened when somebody looked
				for i, s := range segments {
					if i < skip {
						continue
					}
					if mode.loss > 0 && r.IntN(mode.loss) == 0 {
						h.gap(s.d, len(s.bytes))
						continue
					}
					h.chunk(s.d, s.bytes, -1)
				}
				records := h.close(reassembly.CloseFIN)
				for _, x := range records {
					v := c.verify(x)
					if v.wrong != "" {
						t.Fatalf("seed %d: %s is wrong in %s", seed, v.wrong, tell([]*capstanv1.Exchange{x}))
					}
					if after[x.StreamId] {
						t.Errorf("seed %d: stream %d is told twice", seed, x.StreamId)
					}
					after[x.StreamId] = true
					told += v.fields
					if x.Request.GetMethod() != "" && x.Response.GetStatus() != 0 {
						pairs++
					}
				}
				// What could have been told: all of the streams of which anything was
				// captured.
				for id := range after {
					all += c.truth[id].fields()
					streams++
				}
			}
			share := float64(told) / float64(all)
			t.Logf("%.1f %% of %d fields are known, %.1f %% of %d streams have method and status; none is wrong", 100*share, all, 100*float64(pairs)/float64(streams), streams)
			if share < mode.least {
				t.Errorf("only %.2f of the fields are known", share)
			}
		})
	}
}

// FuzzConn cuts two arbitrary streams in two ways. Whatever they hold, every
// byte is counted once, and with no place lost the records are the same.
func FuzzConn(f *testing.F) {
	for seed := range uint64(4) {
		c := newConversation(rand.New(rand.NewPCG(seed, 3)), 4)
		var streams [2][]byte
		for _, s := range c.turns {
			streams[s.d] = append(streams[s.d], s.bytes...)
		}
		f.Add(streams[fromClient], streams[fromServer], uint64(1), uint16(0))
		f.Add(streams[fromClient], streams[fromServer], uint64(2), uint16(30))
		f.Add(bytes.TrimPrefix(streams[fromClient], []byte(preface)), streams[fromServer], uint64(3), uint16(0))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64, hole uint16) {
		if len(client) > 32<<10 || len(server) > 32<<10 {
			return
		}
		run := func(whole bool) (*harness, []*capstanv1.Exchange) {
			r := rand.New(rand.NewPCG(seed, 0))
			h := newHarness(t, Config{MaxHeaderBlock: 300, MaxStreams: 5, MaxUnparsed: 5000}, 50, testConn(seed%3 == 2))
			for d, b := range [][]byte{client, server} {
				for len(b) > 0 {
					n := len(b)
					if !whole {
						n = min(n, 1+r.IntN(50))
					}
					h.time = 0
					h.chunk(flow.Direction(d), b[:n], int64(len(client))*int64(d))
					b = b[n:]
					if hole > 0 && r.IntN(10) == 0 {
						h.gap(flow.Direction(d), int(hole))
					}
				}
			}
			h.time = 1000
			return h, h.close(reassembly.CloseReason(seed % uint64(reassembly.NumCloseReasons)))
		}
		h1, cut := run(false)
		h2, whole := run(true)
		for _, x := range append(cut, whole...) {
			if x.Complete && (x.Request == nil || x.Response == nil) || x.Request == nil && x.Response == nil || x.StreamId == 0 {
				t.Errorf("impossible: %v", x)
			}
		}
		if seed%3 != 2 && hole == 0 && h1.shared.Stats.Resyncs == 0 && h2.shared.Stats.Resyncs == 0 && tell(cut) != tell(whole) {
			t.Errorf("cut:\n%s\nwhole:\n%s", tell(cut), tell(whole))
		}
		if seed%3 != 2 && hole == 0 && (h1.shared.Stats.Resyncs == 0) != (h2.shared.Stats.Resyncs == 0) {
			t.Errorf("place lost %d times cut, %d times whole", h1.shared.Stats.Resyncs, h2.shared.Stats.Resyncs)
		}
	})
}
