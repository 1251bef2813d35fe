package http1

import (
	"net/netip"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
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
	conn    *reassembly.Conn
	shared  *Shared
	records []*capstanv1.Exchange
	fed     uint64
	offset  [2]int64
	time    int64
	ended   [2]bool
}

func testConn() *reassembly.Conn {
	key, _ := flow.NewKey(flow.EndpointFrom(netip.MustParseAddrPort("10.0.0.1:40000")), flow.EndpointFrom(netip.MustParseAddrPort("10.0.0.2:80")))
	return &reassembly.Conn{
		Key: key, Client: fromClient, ClientKnown: true,
		InitialSeq: [2]uint32{100, 200}, InitialSeqKnown: [2]bool{true, true},
	}
}

func newHarness(t testing.TB, cfg Config, bodyLimit int, conn *reassembly.Conn) *harness {
	h := &harness{t: t, conn: conn, time: 1_000_000}
	h.hand(cfg, exchange.Config{Keep: exchange.NewKeep(bodyLimit, nil, nil), Emit: exchangetest.Keep(&h.records)})
	return h
}

// hand makes a new Conn, whose records go where rec tells.
func (h *harness) hand(cfg Config, rec exchange.Config) {
	h.shared = NewShared(cfg, exchange.NewRecorder(rec), nil)
	h.c = new(Conn)
	h.c.Init(h.shared, h.conn, nil, 0)
}

// chunk delivers b at the direction's current offset.
func (h *harness) chunk(d flow.Direction, b []byte, acked int64) {
	h.time += 1000
	// A copy that is spoilt afterwards: nothing may refer to it.
	own := append([]byte(nil), b...)
	h.c.Data(d, reassembly.Chunk{Time: h.time, Offset: h.offset[d], Acked: acked, Bytes: own})
	for i := range own {
		own[i] = 0xEE
	}
	h.offset[d] += int64(len(b))
	h.fed += uint64(len(b))
}

// send delivers s in one segment whose sender has received everything
// delivered so far.
func (h *harness) send(d flow.Direction, s string) { h.chunk(d, []byte(s), h.offset[d.Reverse()]) }

func (h *harness) client(s string) { h.send(fromClient, s) }
func (h *harness) server(s string) { h.send(fromServer, s) }

func (h *harness) gap(d flow.Direction, n int64) {
	h.time += 1000
	h.c.Gap(d, reassembly.Gap{Time: h.time, Offset: h.offset[d], Acked: -1, Len: n})
	h.offset[d] += n
}

// snapped is gap for the end of the segment that came last.
func (h *harness) snapped(d flow.Direction, n int64) {
	h.c.Gap(d, reassembly.Gap{Time: h.time, Offset: h.offset[d], Acked: h.offset[d.Reverse()], Len: n})
	h.offset[d] += n
}

func (h *harness) end(d flow.Direction) {
	h.ended[d] = true
	h.c.End(d, h.time)
}

// close closes the connection, with both FINs if the reason says so, checks
// that every byte was counted once, and returns the records.
func (h *harness) close(r reassembly.CloseReason) []*capstanv1.Exchange {
	h.t.Helper()
	if r == reassembly.CloseFIN {
		for _, d := range []flow.Direction{fromClient, fromServer} {
			if !h.ended[d] {
				h.end(d)
			}
		}
	}
	h.c.Close(h.time, r)
	h.c.Close(h.time, r) // a second close must not emit anything
	h.balance()
	if s := &h.shared.Stats; s.Waiting != 0 || s.Charge != 0 || s.HeldHeads != 0 || s.HeldContent != 0 {
		h.t.Errorf("behind the end %d requests wait, of %d bytes; %d bytes of heads and %d of bodies are held", s.Waiting, s.Charge, s.HeldHeads, s.HeldContent)
	}
	return h.records
}

func (h *harness) balance() {
	h.t.Helper()
	s := h.shared.Stats
	if sum := s.HeadBytes + s.FramingBytes + s.BodyBytes + s.SkippedBytes + s.TunnelledBytes; sum != h.fed {
		h.t.Errorf("%d bytes delivered, %d counted: %+v", h.fed, sum, s)
	}
}

// pending returns the requests that wait for a response.
func (h *harness) pending() []*roundTrip {
	if h.c.inFlight == nil {
		return nil
	}
	return h.c.pairing.pending
}
