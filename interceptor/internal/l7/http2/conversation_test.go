package http2

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
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
	steady         bool // the tables keep their sizes
}

// newConversation returns one of n streams. Its encoders may be odd.
func newConversation(r *rand.Rand, n int, odd bool) *conversation {
	c := &conversation{r: r, client: newPeer(), server: newPeer(), truth: make(map[uint32]*said)}
	if odd {
		c.client.odd, c.server.odd = newOddEncoder(r), newOddEncoder(r)
	}
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
	if c.r.IntN(15) == 0 && !c.steady && p.odd == nil {
		p.x.SetMaxDynamicTableSize(uint32(c.r.IntN(3000)))
	}
	b := p.encode(fields...)
	flags := uint8(0)
	if end {
		flags = flagEndStream
	}
	if len(b) < 2 || c.r.IntN(4) > 0 {
		c.padded(p, frameHeaders, flags|flagEndHeaders, id, b)
		return
	}
	at := 1 + c.r.IntN(len(b)-1)
	c.padded(p, frameHeaders, flags, id, b[:at])
	p.frame(frameContinuation, flagEndHeaders, id, b[at:])
}

// padded writes a frame, at times with padding.
func (c *conversation) padded(p *peer, kind frameType, flags uint8, id uint32, payload []byte) {
	if n := c.r.IntN(1024); n <= 255 && len(payload)+n < defaultMaxFrame {
		p.frame(kind, flags|flagPadded, id, []byte{byte(n)}, payload, make([]byte, n))
		return
	}
	p.frame(kind, flags, id, payload)
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
		c.padded(p, frameData, 0, id, b)
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
		c := newConversation(r, 30, false)
		var first string
		cuts := []func() int{mss, func() int { return 1 << 30 }, func() int { return 1 + r.IntN(100) }}
		if seed < 2 {
			cuts = append(cuts, func() int { return 1 })
		}
		for _, next := range cuts {
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
