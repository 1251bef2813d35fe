package reassembly

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

const ms = int64(time.Millisecond)

// side is an end of the connection that the tests play.
type side int

const (
	C side = iota // client
	S             // server
)

var (
	clientEnd = flow.EndpointFrom(netip.MustParseAddrPort("192.0.2.9:40000"))
	serverEnd = flow.EndpointFrom(netip.MustParseAddrPort("192.0.2.1:80"))
)

// octet is the byte at offset off of what a side sends.
func octet(x side, off int64) byte { return byte(off*31>>3) ^ byte(off) ^ byte(x*85) }

// octets are n bytes from offset off.
func octets(x side, off int64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = octet(x, off+int64(i))
	}
	return b
}

// stream is what a handler was told of one connection. It checks the promises
// of Handler as they are made.
type stream struct {
	t      testing.TB
	conn   *Conn
	atOpen Conn
	data   [2][]byte // gaps as zeros, only while short
	log    [2][]string
	next   [2]int64
	gapped [2]int64
	ended  [2]bool
	closed []CloseReason
	closeT int64
	chunks []Chunk
	heard  []flow.Direction // of chunks
	gaps   []Gap
}

func (r *stream) Data(d flow.Direction, c Chunk) {
	r.check(d, c.Offset, int64(len(c.Bytes)))
	from := c.Offset
	if n := len(r.log[d]); n > 0 && strings.HasPrefix(r.log[d][n-1], "[") {
		var to int64
		fmt.Sscanf(r.log[d][n-1], "[%d,%d)", &from, &to)
		r.log[d] = r.log[d][:n-1]
	}
	r.log[d] = append(r.log[d], fmt.Sprintf("[%d,%d)", from, r.next[d]))
	r.data[d] = append(r.data[d], c.Bytes...)
	c.Bytes = bytes.Clone(c.Bytes)
	r.chunks, r.heard = append(r.chunks, c), append(r.heard, d)
}

func (r *stream) Gap(d flow.Direction, g Gap) {
	r.check(d, g.Offset, g.Len)
	r.gapped[d] += g.Len
	r.log[d] = append(r.log[d], fmt.Sprintf("gap%d", g.Len))
	r.gaps = append(r.gaps, g)
}

func (r *stream) check(d flow.Direction, off, n int64) {
	r.t.Helper()
	if len(r.closed) > 0 {
		r.t.Errorf("called after Close")
	}
	if r.ended[d] {
		r.t.Errorf("direction %d goes on after its End", d)
	}
	if off != r.next[d] {
		r.t.Errorf("direction %d goes on at %d, was at %d", d, off, r.next[d])
	}
	if n <= 0 {
		r.t.Errorf("direction %d is told of %d bytes", d, n)
	}
	r.next[d] = off + n
}

func (r *stream) End(d flow.Direction, time int64) {
	if r.ended[d] || len(r.closed) > 0 {
		r.t.Errorf("second End of direction %d, or End after Close", d)
	}
	r.ended[d] = true
	r.log[d] = append(r.log[d], "END")
}

func (r *stream) Close(time int64, reason CloseReason) {
	if len(r.closed) > 0 {
		r.t.Errorf("second Close")
	}
	r.closed = append(r.closed, reason)
	r.closeT = time
}

// probe plays both ends of one connection to an assembler. Offsets are TCP's:
// the SYN is at 0, the first byte at 1.
type probe struct {
	t       testing.TB
	a       *Assembler
	now     int64
	isn     [2]uint32
	sent    [2]int64 // next offset of each side, whether captured or not
	acks    [2]int64 // acknowledgement a side sends; -1: all the other has sent
	streams []*stream
	twice   bool // every segment is captured at two interfaces
	ends    [2]flow.Endpoint
	careful *careful
}

func newProbe(t testing.TB, cfg Config) *probe {
	p := &probe{t: t, now: 1_700_000_000_000_000_000, isn: [2]uint32{1000, 70000}, acks: [2]int64{-1, -1}}
	p.ends = [2]flow.Endpoint{clientEnd, serverEnd}
	p.a = newRecorded(t, cfg, &p.streams)
	p.careful = newCareful(t, cfg)
	return p
}

// newRecorded returns an assembler whose handlers are added to streams.
func newRecorded(t testing.TB, cfg Config, streams *[]*stream) *Assembler {
	return New(cfg, func(c *Conn, _ flow.Direction, _ []byte) Handler {
		r := &stream{t: t, conn: c, atOpen: *c}
		*streams = append(*streams, r)
		return r
	})
}

func (p *probe) dir(x side) flow.Direction {
	_, d := flow.NewKey(p.ends[x], p.ends[1-x])
	return d
}

// segment builds a segment of side x at offset off.
func (p *probe) segment(x side, off int64, flags packet.Flags, payload []byte) *packet.Segment {
	s := &packet.Segment{Seq: p.isn[x] + uint32(off), Flags: flags, Payload: payload, Window: 512}
	s.Key, s.Dir = flow.NewKey(p.ends[x], p.ends[1-x])
	if flags.Has(packet.FlagACK) {
		ack := p.acks[x]
		if ack < 0 {
			ack = p.sent[1-x]
		}
		s.Ack = p.isn[1-x] + uint32(ack)
	}
	return s
}

// segmentAt, advance and closeAll do what Assembler's methods do, and hold that
// taking every segment for irregular comes to the same.
func (p *probe) segmentAt(s *packet.Segment, time int64) {
	p.t.Helper()
	p.a.Segment(s, time)
	p.careful.segment(s, time)
	p.careful.compareCounts(p)
	p.careful.compare(p, &s.Key)
}

func (p *probe) advance() {
	p.t.Helper()
	p.a.Advance(p.now)
	p.careful.a.Advance(p.now)
	p.careful.compareCounts(p)
	for _, s := range p.a.conns.open.entries {
		if s.value != nil {
			p.careful.compare(p, &s.value.Key)
		}
	}
}

func (p *probe) closeAll(r CloseReason) {
	p.t.Helper()
	p.a.CloseAll(p.now, r)
	p.careful.a.CloseAll(p.now, r)
	p.careful.compareStreams(p)
}

// put hands a segment to the assembler, a millisecond after the one before.
func (p *probe) put(s *packet.Segment) {
	p.now += ms
	p.segmentAt(s, p.now)
	if p.twice {
		c := *s
		c.Payload = bytes.Clone(s.Payload)
		p.segmentAt(&c, p.now+3000)
	}
	balance(p.t, p.a)
}

// send sends n bytes of x at offset off and notes that they were sent.
func (p *probe) send(x side, off int64, n int, flags packet.Flags) {
	p.t.Helper()
	s := p.segment(x, off, flags, octets(x, off, n))
	p.lost(x, off, n, flags)
	p.put(s)
}

// lost is send for a segment that was not captured.
func (p *probe) lost(x side, off int64, n int, flags packet.Flags) {
	end := off + int64(n)
	if flags&(packet.FlagSYN|packet.FlagFIN) != 0 {
		end++
	}
	p.sent[x] = max(p.sent[x], end)
}

const (
	ack    = packet.FlagACK
	finack = packet.FlagFIN | packet.FlagACK
	syn    = packet.FlagSYN
	synack = packet.FlagSYN | packet.FlagACK
	rst    = packet.FlagRST
	rstack = packet.FlagRST | packet.FlagACK
)

// c and s send n bytes at offset off with nothing but an ACK.
func (p *probe) c(off int64, n int) { p.t.Helper(); p.send(C, off, n, ack) }
func (p *probe) s(off int64, n int) { p.t.Helper(); p.send(S, off, n, ack) }

// bare sends an ACK without data.
func (p *probe) bare(x side) { p.put(p.segment(x, p.sent[x], ack, nil)) }

func (p *probe) handshake() {
	p.send(C, 0, 0, syn)
	p.send(S, 0, 0, synack)
	p.bare(C)
}

// fins ends both directions, the server's first.
func (p *probe) fins() {
	p.send(S, p.sent[S], 0, finack)
	p.send(C, p.sent[C], 0, finack)
	p.bare(S)
}

// wait lets time pass.
func (p *probe) wait(d time.Duration) {
	p.now += int64(d)
	p.advance()
	balance(p.t, p.a)
}

// last is the stream of the connection opened last.
func (p *probe) last() *stream {
	p.t.Helper()
	if len(p.streams) == 0 {
		p.t.Fatal("no handler was made")
	}
	return p.streams[len(p.streams)-1]
}

// want compares what the i-th connection's handler was told of side x.
func (p *probe) want(i int, x side, log string) {
	p.t.Helper()
	if i >= len(p.streams) {
		p.t.Fatalf("%d handlers were made, want connection %d", len(p.streams), i)
	}
	r := p.streams[i]
	if got := strings.Join(r.log[p.dir(x)], " "); got != log {
		p.t.Errorf("connection %d, %s: %q, want %q", i, [...]string{"client", "server"}[x], got, log)
	}
}

// wantBytes checks the content of connection i, whose stream offset 0 is TCP
// offset base, outside gaps.
func (p *probe) wantBytes(i int, x side, base int64) {
	p.t.Helper()
	off := base
	var want []byte
	for _, l := range p.streams[i].log[p.dir(x)] {
		var from, to, n int64
		if k, _ := fmt.Sscanf(l, "[%d,%d)", &from, &to); k == 2 {
			want = append(want, octets(x, base+from, int(to-from))...)
			off = base + to
		} else if k, _ := fmt.Sscanf(l, "gap%d", &n); k == 1 {
			off += n
		}
	}
	if got := p.streams[i].data[p.dir(x)]; !bytes.Equal(got, want) {
		p.t.Errorf("connection %d, side %d: wrong bytes among %d", i, x, len(got))
	}
}

func (p *probe) wantClosed(i int, reason ...CloseReason) {
	p.t.Helper()
	if i >= len(p.streams) {
		p.t.Fatalf("%d handlers were made, want connection %d", len(p.streams), i)
	}
	if got := p.streams[i].closed; fmt.Sprint(got) != fmt.Sprint(reason) {
		p.t.Errorf("connection %d closed by %v, want %v", i, got, reason)
	}
}

// wantEndUnseen holds what was known of the last connection when it was closed.
func (p *probe) wantEndUnseen(want bool) {
	p.t.Helper()
	if got := p.last().conn.EndUnseen; got != want {
		p.t.Errorf("the end is unseen: %t, want %t", got, want)
	}
}

func (p *probe) wantConns(n int) {
	p.t.Helper()
	if len(p.streams) != n {
		p.t.Errorf("%d handlers were made, want %d", len(p.streams), n)
	}
}

// balance checks that every payload byte and connection is accounted for.
func balance(t testing.TB, a *Assembler) {
	t.Helper()
	st := a.Stats()
	if got := st.DeliveredBytes + st.DuplicateBytes + st.CopyBytes + uint64(st.QueuedBytes) + st.Dropped(); got != st.PayloadBytes {
		t.Errorf("%d payload bytes came in, %d are accounted for: %+v", st.PayloadBytes, got, st)
	}
	closed := uint64(0)
	for _, n := range st.Closed {
		closed += n
	}
	if closed+uint64(st.Active) != st.Opened {
		t.Errorf("%d connections opened, %d closed, %d active", st.Opened, closed, st.Active)
	}
	if a.conns.count() != st.Active+st.Lingering {
		t.Errorf("%d tuples known, %d active, %d lingering", a.conns.count(), st.Active, st.Lingering)
	}
}

// empty checks that nothing is retained once everything is closed.
func empty(t testing.TB, a *Assembler) {
	t.Helper()
	balance(t, a)
	if st := a.Stats(); st.QueuedBytes != 0 || st.Active != 0 || st.Lingering != 0 || a.charge != 0 || len(a.holes)+len(a.awaited) != 0 || a.conns.count() != 0 {
		t.Errorf("after the end: %d bytes queued, charge %d, %d holes, %d active, %d lingering",
			st.QueuedBytes, a.charge, len(a.holes)+len(a.awaited), st.Active, st.Lingering)
	}
}

// structure checks the invariants of the queues.
func structure(t testing.TB, a *Assembler) {
	t.Helper()
	charge, queued, holes := 0, 0, 0
	for _, s := range a.conns.open.entries {
		c := s.value
		if c == nil {
			continue
		}
		if found, _ := a.conns.find(&c.Key); found != c {
			t.Errorf("a connection is not found")
		}
		for d := range c.half {
			h := &c.half[d]
			if h.pending == nil {
				continue
			}
			if h.idle() {
				t.Errorf("a direction keeps what it doesn't need")
			}
			if h.afloat && (h.offset > 0 || len(h.pieces) == 0) {
				t.Errorf("at %d, with %d pieces, and afloat", h.offset, len(h.pieces))
			}
			sum, end := 0, h.offset
			for i := range h.pieces {
				p := &h.pieces[i]
				if p.n <= 0 || p.off < end || p.off == h.offset && !h.held && !h.afloat && !a.early(h, p.acked) {
					t.Errorf("piece [%d,%d) behind %d, next is %d", p.off, p.end(), end, h.offset)
				}
				end = p.end()
				sum += pieceCharge
				if p.buf != nil {
					sum += p.n
					queued += p.n
				}
			}
			if sum != h.charge {
				t.Errorf("direction is charged %d, holds %d", h.charge, sum)
			}
			if sum > a.cfg.MaxHoleBytes {
				t.Errorf("direction holds %d, limit %d", sum, a.cfg.MaxHoleBytes)
			}
			charge += sum
			if h.slot > 0 {
				holes++
				if (*a.deadlinesOf(h))[h.slot-1] != h {
					t.Errorf("direction is not at its place among the deadlines")
				}
			} else if len(h.pieces) > 0 {
				t.Errorf("pieces without a deadline")
			}
		}
	}
	if charge != a.charge || queued != a.stats.QueuedBytes || holes != len(a.holes)+len(a.awaited) || charge > a.cfg.MaxQueuedTotal {
		t.Errorf("charge %d of %d (limit %d), queued %d of %d, holes %d of %d", charge, a.charge, a.cfg.MaxQueuedTotal, queued, a.stats.QueuedBytes, holes, len(a.holes)+len(a.awaited))
	}
	for _, q := range []deadlines{a.holes, a.awaited} {
		for i, h := range q {
			if i > 0 && q[(i-1)/2].deadline > h.deadline {
				t.Errorf("deadlines are not a heap at %d", i)
			}
		}
	}
}
