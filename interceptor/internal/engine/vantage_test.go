package engine

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/capture"
	"capstan/pkg/packet"
	capstanv1 "capstan/proto/capstan/v1"
)

// conversation is two exchanges on one connection, from handshake to FIN.
func conversation(port uint16) []capture.Frame {
	var w wire
	c := w.connect(port)
	for n := range 2 {
		c.say(0, get(n))
		c.say(1, answer(5000))
	}
	c.frame(0, 0x11, nil)
	c.frame(1, 0x11, nil)
	c.frame(0, 0x10, nil)
	return w.frames
}

// run feeds frames to an engine with the decoding policy cfg.
func run(t *testing.T, cfg packet.Config, frames []capture.Frame) ([]*capstanv1.Exchange, Snapshot) {
	t.Helper()
	var records []*capstanv1.Exchange
	e := New(Config{Decode: cfg, Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
	for i := range frames {
		frames[i].Len = len(frames[i].Data)
		e.Frame(&frames[i])
	}
	e.Finish()
	s := e.Snapshot()
	checkSnapshot(t, &s, records)
	return records, s
}

// wantWhole checks that records are n exchanges without a flaw.
func wantWhole(t *testing.T, records []*capstanv1.Exchange, n int) {
	t.Helper()
	if len(records) != n {
		t.Fatalf("%d exchanges, want %d", len(records), n)
	}
	ids := make(map[string]bool)
	for _, x := range records {
		if ids[x.Id] {
			t.Errorf("id %s twice", x.Id)
		}
		ids[x.Id] = true
		if !x.Complete || len(x.Flaws) != 0 || x.Response.Status != 200 || x.Response.Body.Size != 5000 {
			t.Errorf("not whole: %v", x)
		}
	}
}

// remake returns each frame changed by f, in order.
func remake(frames []capture.Frame, f func(i int, frame capture.Frame) []capture.Frame) (out []capture.Frame) {
	for i := range frames {
		out = append(out, f(i, frames[i])...)
	}
	return out
}

func cooked2(index uint32, packetType byte, ip []byte) []byte {
	b := []byte{0x08, 0, 0, 0, 0, 0, 0, 0, 0, 1, packetType, 6, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], index)
	return append(b, ip...)
}

// TestCase42CopiesAtSeveralInterfaces has each packet of a conversation cross
// the end of a veth pair, a bridge and a card, as "any" and a pcapng file of
// several interfaces show it.
func TestCase42CopiesAtSeveralInterfaces(t *testing.T) {
	for name, see := range map[string]func(f capture.Frame, point int) capture.Frame{
		"cooked v2": func(f capture.Frame, point int) capture.Frame {
			return capture.Frame{Timestamp: f.Timestamp, LinkType: capture.LinkTypeLinuxSLL2, Data: cooked2(uint32(2+point), byte(4*min(point, 1)), f.Data[14:])}
		},
		"pcapng": func(f capture.Frame, point int) capture.Frame {
			f.Interface = uint32(1 + point)
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			frames := remake(conversation(40000), func(_ int, f capture.Frame) []capture.Frame {
				var seen []capture.Frame
				for point := range 3 {
					c := see(f, point)
					c.Timestamp += int64(point) * 2000
					seen = append(seen, c)
				}
				return seen
			})
			// Copies may also come later than what follows them.
			frames[5], frames[6] = frames[6], frames[5]
			records, s := run(t, packet.Config{}, frames)
			wantWhole(t, records, 2)
			r := &s.Reassembly
			if r.Opened != 1 || r.DuplicateBytes+r.Duplicates+r.Conflicts+r.Gaps != 0 || r.CopyBytes != 2*r.DeliveredBytes || r.CopyBytes == 0 {
				t.Errorf("counted %+v", *r)
			}
		})
	}
}

// Between two points a router has changed what routers change, and a tunnel was
// put around the packet.
func TestCase42CopiesInsideOfTunnels(t *testing.T) {
	frames := remake(conversation(40000), func(_ int, f capture.Frame) []capture.Frame {
		routed := slices.Clone(f.Data)
		routed[14+8]--                                    // time to live
		routed[14+10], routed[14+11], routed[0] = 1, 2, 9 // checksum, address
		vxlan := slices.Concat(make([]byte, 12), []byte{0x08, 0}, ipv4Header(17, 20+8+8+len(routed)), udpHeader(4789, 8+8+len(routed)), []byte{8, 0, 0, 0, 0, 0, 7, 0}, routed)
		return []capture.Frame{
			{Timestamp: f.Timestamp, LinkType: 1, Interface: 1, Data: f.Data},
			{Timestamp: f.Timestamp + 500, LinkType: 1, Interface: 2, Data: vxlan},
		}
	})
	records, s := run(t, packet.Config{}, frames)
	wantWhole(t, records, 2)
	if s.Reassembly.Opened != 1 || s.Reassembly.CopyBytes != s.Reassembly.DeliveredBytes || s.Decode.Tunnelled != uint64(len(frames)/2) {
		t.Errorf("counted %+v, %+v", s.Reassembly, s.Decode)
	}
}

func ipv4Header(proto byte, total int) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
	binary.BigEndian.PutUint16(b[2:], uint16(total))
	return b
}

func udpHeader(port uint16, length int) []byte {
	b := []byte{0xd4, 0x31, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	return b
}

// TestCase43NetworksApart has the same endpoints talk in two VLANs at once.
func TestCase43NetworksApart(t *testing.T) {
	frames := remake(conversation(40000), func(_ int, f capture.Frame) []capture.Frame {
		var both []capture.Frame
		for i, vid := range []byte{10, 20} {
			tagged := slices.Insert(slices.Clone(f.Data), 12, 0x81, 0x00, 0x00, vid)
			both = append(both, capture.Frame{Timestamp: f.Timestamp + int64(i), Data: tagged, LinkType: f.LinkType})
		}
		return both
	})
	records, s := run(t, packet.Config{Scoped: true}, frames)
	wantWhole(t, records, 4)
	if s.Reassembly.Opened != 2 || s.Reassembly.DuplicateBytes != 0 {
		t.Errorf("counted %+v", s.Reassembly)
	}
	if records, s := run(t, packet.Config{}, frames); len(records) != 2 || s.Reassembly.Opened != 1 {
		t.Errorf("taken for one network: %d exchanges on %d connections", len(records), s.Reassembly.Opened)
	}
}

// TestCase43Capture reads one connection's frames in three VLANs.
func TestCase43Capture(t *testing.T) {
	dir := capturesDir(t)
	frames := captureFrames(t, filepath.Join(dir, "zeek", "vlan-collisions.pcap"))
	records, _ := run(t, packet.Config{Scoped: true}, frames)
	if len(records) != 3 {
		t.Errorf("%d exchanges in three VLANs", len(records))
	}
}

// TestCase44FragmentedSegments sends every packet in fragments, out of order.
func TestCase44FragmentedSegments(t *testing.T) {
	frames := remake(conversation(40000), func(i int, f capture.Frame) []capture.Frame {
		pieces := fragments(f, 8*(1+i%40), uint16(i+1))
		slices.Reverse(pieces)
		return pieces
	})
	records, s := run(t, packet.Config{}, frames)
	wantWhole(t, records, 2)
	if d := &s.Defrag; d.Joined != d.Fragments || d.Datagrams == 0 || s.Datagrams[packet.OutcomeTCP] != d.Datagrams {
		t.Errorf("counted %+v", *d)
	}
	// Two interfaces see the fragments.
	twice := remake(frames, func(_ int, f capture.Frame) []capture.Frame {
		other := f
		f.Interface, other.Interface = 1, 2
		return []capture.Frame{f, other}
	})
	records, s = run(t, packet.Config{}, twice)
	wantWhole(t, records, 2)
	if s.Reassembly.DuplicateBytes != 0 {
		t.Errorf("counted %+v", s.Reassembly)
	}
}

// fragments cuts the IPv4 packet of an Ethernet frame into pieces of n bytes.
func fragments(f capture.Frame, n int, id uint16) (pieces []capture.Frame) {
	header, body := f.Data[:34], f.Data[34:]
	if len(body) <= n {
		return []capture.Frame{f}
	}
	for at := 0; at < len(body); at += n {
		piece := body[at:min(len(body), at+n)]
		b := slices.Concat(header, piece)
		binary.BigEndian.PutUint16(b[14+2:], uint16(20+len(piece)))
		binary.BigEndian.PutUint16(b[14+4:], id)
		position := uint16(at / 8)
		if at+n < len(body) {
			position |= 0x2000
		}
		binary.BigEndian.PutUint16(b[14+6:], position)
		f.Data = b
		pieces = append(pieces, f)
	}
	return pieces
}

// TestCase44Captures reads fragmented requests of other projects' making.
func TestCase44Captures(t *testing.T) {
	dir := capturesDir(t)
	_, s := run(t, packet.Config{}, captureFrames(t, filepath.Join(dir, "pcapplusplus", "frag_http_req.pcap")))
	if s.Defrag.Datagrams == 0 || s.Datagrams[packet.OutcomeTCP] == 0 {
		t.Errorf("counted %+v", s.Defrag)
	}
}

// TestCase09ForgedResponse has somebody answer before the server does: what
// came first stays, and what follows on the connection says that it is in doubt.
func TestCase09ForgedResponse(t *testing.T) {
	var w wire
	c := w.connect(40000)
	c.say(0, get(1))
	genuine := c.seq[1]
	c.say(1, answer(5000)[:200])
	c.seq[1] = genuine
	c.say(1, strings.ToUpper(answer(5000)))
	c.say(0, get(2))
	c.say(1, answer(5000))
	records, s := run(t, packet.Config{}, w.frames)
	if len(records) != 2 || s.Reassembly.Conflicts == 0 {
		t.Fatalf("%d exchanges, counted %+v", len(records), s.Reassembly)
	}
	for _, x := range records {
		if !slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_CONFLICT) || !x.Complete || x.Response.Status != 200 {
			t.Errorf("%v", x)
		}
	}
}
