package http2

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"

	xhpack "golang.org/x/net/http2/hpack"
)

// The client is the lower endpoint in all tests.
const (
	fromClient = flow.AToB
	fromServer = flow.BToA
)

// harness feeds one Conn as an assembler would and collects its records.
type harness struct {
	t       testing.TB
	c       *Conn
	shared  Shared
	records []*capstanv1.Exchange
	fed     uint64
	offset  [2]int64
	time    int64
	stray   int64 // how far the times of chunks and gaps are off
}

func testConn(midstream bool) *reassembly.Conn {
	key, _ := flow.NewKey(flow.EndpointFrom(netip.MustParseAddrPort("10.0.0.1:40000")), flow.EndpointFrom(netip.MustParseAddrPort("10.0.0.2:80")))
	return &reassembly.Conn{
		Key: key, Client: fromClient, ClientKnown: !midstream, Midstream: midstream,
		InitialSeq: [2]uint32{100, 200}, InitialSeqKnown: [2]bool{!midstream, !midstream},
	}
}

func newHarness(t testing.TB, cfg Config, bodyLimit int, conn *reassembly.Conn) *harness {
	h := &harness{t: t, time: 1_000_000}
	cfg.Shared = &h.shared
	h.c = New(&cfg, conn, h.recorder(bodyLimit), nil)
	return h
}

func (h *harness) recorder(bodyLimit int) *exchange.Recorder {
	return exchange.NewRecorder(exchange.Config{Keep: exchange.NewKeep(bodyLimit, nil, nil), Emit: exchangetest.Keep(&h.records)})
}

// chunk delivers b at the direction's current offset.
func (h *harness) chunk(d flow.Direction, b []byte, acked int64) {
	h.time += 1000
	// A copy that is spoilt afterwards: nothing may refer to it.
	own := bytes.Clone(b)
	h.c.conn.Touched = h.time
	h.c.Data(d, reassembly.Chunk{Time: h.time + h.stray, Offset: h.offset[d], Acked: acked, Bytes: own})
	for i := range own {
		own[i] = 0xEE
	}
	h.offset[d] += int64(len(b))
	h.fed += uint64(len(b))
}

// send delivers b in one segment whose sender has received everything so far.
func (h *harness) send(d flow.Direction, b []byte) { h.chunk(d, b, h.offset[d.Reverse()]) }

func (h *harness) gap(d flow.Direction, n int) {
	h.time += 1000
	h.c.conn.Touched = h.time
	h.c.Gap(d, reassembly.Gap{Time: h.time + h.stray, Offset: h.offset[d], Acked: -1, Len: int64(n)})
	h.offset[d] += int64(n)
}

// close closes the connection, checks that every byte was counted once, and
// returns the records.
func (h *harness) close(r reassembly.CloseReason) []*capstanv1.Exchange {
	h.t.Helper()
	h.c.Close(h.time, r)
	h.c.Close(h.time, r) // a second close must not emit anything
	s := &h.shared.Stats
	if sum := s.FramingBytes + s.HeaderBytes + s.DataBytes + s.SkippedBytes; sum != h.fed {
		h.t.Errorf("%d bytes delivered, %d counted: %+v", h.fed, sum, s)
	}
	if h.c.byID.n != 0 || h.c.oldest != nil || h.c.newest != nil || h.c.streams.cost != 0 || h.c.orphans != 0 {
		h.t.Errorf("after the end: %d streams, %d bytes, %d orphans", h.c.byID.n, h.c.streams.cost, h.c.orphans)
	}
	if s.Open != 0 || s.Charge != 0 || s.HeldContent != 0 || s.HeldBlocks != 0 || s.HeldTables != 0 || s.HeldSearch != 0 {
		h.t.Errorf("after the end: %+v", s)
	}
	return h.records
}

// peer writes the frames of one end, with x/net's encoder for header blocks.
type peer struct {
	out   []byte
	block bytes.Buffer
	x     *xhpack.Encoder
	odd   *encoder // in its place
}

func newPeer() *peer {
	p := new(peer)
	p.x = xhpack.NewEncoder(&p.block)
	return p
}

// take returns what was written since the last call.
func (p *peer) take() []byte {
	b := p.out
	p.out = nil
	return b
}

func (p *peer) frame(kind frameType, flags uint8, stream uint32, payload ...[]byte) *peer {
	whole := bytes.Join(payload, nil)
	n := len(whole)
	p.out = append(p.out, byte(n>>16), byte(n>>8), byte(n), byte(kind), flags)
	p.out = binary.BigEndian.AppendUint32(p.out, stream)
	p.out = append(p.out, whole...)
	return p
}

// encode returns a header block; names and values take turns.
func (p *peer) encode(fields ...string) []byte {
	if p.odd != nil {
		return p.odd.encode(fields...)
	}
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := p.x.WriteField(xhpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			panic(err) // a buffer takes everything
		}
	}
	return bytes.Clone(p.block.Bytes())
}

func (p *peer) headers(stream uint32, end bool, fields ...string) *peer {
	flags := uint8(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	return p.frame(frameHeaders, flags, stream, p.encode(fields...))
}

func (p *peer) data(stream uint32, end bool, b []byte) *peer {
	flags := uint8(0)
	if end {
		flags = flagEndStream
	}
	return p.frame(frameData, flags, stream, b)
}

func (p *peer) settings(pairs ...uint32) *peer {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(pairs[i]))
		b = binary.BigEndian.AppendUint32(b, pairs[i+1])
	}
	return p.frame(frameSettings, 0, 0, b)
}

func u32(n ...uint32) (b []byte) {
	for _, v := range n {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// talk is a connection whose ends have greeted each other.
type talk struct {
	*harness
	client, server *peer
	segment        int // bytes of each, 0 for all in one
}

func newTalk(t testing.TB, cfg Config) *talk {
	k := &talk{harness: newHarness(t, cfg, 100, testConn(false)), client: newPeer(), server: newPeer()}
	k.client.out = []byte(preface)
	k.client.settings(0x2, 0)
	k.server.settings(0x3, 100).frame(frameSettings, flagAck, 0)
	k.flush()
	return k
}

// flush delivers what both ends have written, the client's first.
func (k *talk) flush() {
	k.sendAll(fromClient, k.client.take())
	k.sendAll(fromServer, k.server.take())
}

func (k *talk) sendAll(d flow.Direction, b []byte) {
	for len(b) > 0 {
		n := len(b)
		if k.segment > 0 {
			n = min(n, k.segment)
		}
		k.send(d, b[:n])
		b = b[n:]
	}
}

func (k *talk) end() []*capstanv1.Exchange {
	k.flush()
	return k.close(reassembly.CloseFIN)
}
