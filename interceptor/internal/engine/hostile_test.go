package engine

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/memory"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/pkg/capture"
	"capstan/pkg/defrag"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// hostileCap is the cap that the attacks are held to, small so that they are
// short.
const hostileCap = 48 << 20

// capOfShard is what docs/configuration.md says to leave for each shard.
const capOfShard = 6 << 20

// attacker feeds an engine frames that it makes as it goes, so that only the
// engine holds memory.
type attacker struct {
	e      *Engine
	buf    [14 + 20 + 20 + 1448]byte
	peers  uint32
	frames int
	now    int64
	check  func()
}

// peer is one connection of the attacker: a client and its server.
type peer struct {
	a      *attacker
	number uint32
	seq    [2]uint32
}

// peer returns a new connection without any packet.
func (a *attacker) peer() *peer {
	a.peers++
	return &peer{a: a, number: a.peers, seq: [2]uint32{1000, 5000}}
}

// open returns a new connection after its handshake.
func (a *attacker) open() *peer {
	p := a.peer()
	p.send(0, 0x02, nil)
	p.send(1, 0x12, nil)
	p.send(0, 0x10, nil)
	return p
}

// send sends a segment from a side.
func (p *peer) send(side int, flags byte, payload []byte) {
	b := p.a.buf[:14+20+20+len(payload)]
	clear(b[:54])
	b[12] = 0x08
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
	ends := [2][4]byte{{10}, {192, 168, 0, 1}}
	binary.BigEndian.PutUint32(ends[0][:], 10<<24|p.number&0xffffff)
	ports := [2]uint16{uint16(1024 + p.number>>24), 80}
	copy(ip[12:], ends[side][:])
	copy(ip[16:], ends[1-side][:])
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, ports[side])
	binary.BigEndian.PutUint16(tcp[2:], ports[1-side])
	binary.BigEndian.PutUint32(tcp[4:], p.seq[side])
	if flags&0x10 != 0 {
		binary.BigEndian.PutUint32(tcp[8:], p.seq[1-side])
	}
	tcp[12], tcp[13] = 5<<4, flags
	copy(tcp[20:], payload)
	p.seq[side] += uint32(len(payload))
	if flags&0x03 != 0 {
		p.seq[side]++
	}
	p.a.frame(b)
}

// say sends bytes in segments.
func (p *peer) say(side int, data []byte) {
	for len(data) > 0 {
		n := min(len(data), 1448)
		p.send(side, 0x18, data[:n])
		data = data[n:]
	}
}

func (a *attacker) frame(b []byte) {
	a.now += 1000
	a.e.Frame(&capture.Frame{Timestamp: a.now, Data: b, Len: len(b), LinkType: capture.LinkTypeEthernet})
	if a.frames++; a.frames%128 == 0 {
		a.check()
	}
}

// h2frame returns a frame of HTTP/2 (RFC 9113 §4.1).
func h2frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// h2literal returns a field that HPACK puts into the table (RFC 7541 §6.2.1).
func h2literal(name, value string) []byte {
	b := append([]byte{0x40, byte(len(name))}, name...)
	b = append(b, 0x7f) // a length of 127 and more
	for n := len(value) - 127; ; n >>= 7 {
		if n < 128 {
			return append(append(b, byte(n)), value...)
		}
		b = append(b, byte(n)|0x80)
	}
}

// compressed returns n MiB of zeros with a coding.
func compressed(t testing.TB, coding string, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "zstd":
		w, err = zstd.NewWriter(&b, zstd.WithWindowSize(8<<20))
	case "br":
		w = brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 5, LGWin: 24})
	case "deflate":
		w = zlib.NewWriter(&b)
	default:
		w = gzip.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range n {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	return b.Bytes()
}

// again returns b with gzip, so many times.
func again(times int, b []byte) []byte {
	for range times {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(b)
		_ = w.Close()
		b = z.Bytes()
	}
	return b
}

// wsFrame returns a frame of WebSocket (RFC 6455 §5.2), of a client if it is masked: by 0.
func wsFrame(first byte, masked bool, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(len(payload)))
	if masked {
		b[1] |= 0x80
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, payload...)
}

// socket upgrades p to WebSocket, with compressed messages.
func (p *peer) socket() {
	p.say(0, []byte(asksForSocket))
	p.say(1, []byte(strings.TrimSuffix(makesSocket, "\r\n")+"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"))
}

func bomb(coding string, body []byte) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n", coding, len(body)), body...)
}

// attack makes the state of one more victim. bounded attacks are those that a
// limit of its own stops before the cap, however long they last.
type attack struct {
	name    string
	bounded bool
	rounds  int // enough to exceed the cap twice over, but for bounded ones
	step    func(a *attacker, i int)
}

func attacks(t testing.TB) []attack {
	preface := append([]byte(preface), h2frame(4, 0, 0, nil)...)
	get := []byte(get(1))
	filler := bytes.Repeat([]byte("X-Filler: 0123456789abcdef\r\n"), 2200) // 61,600 bytes
	kib := bytes.Repeat([]byte{'a'}, 1024)
	gzipped, zstded := compressed(t, "gzip", 64), compressed(t, "zstd", 64)
	var one *peer
	grpc := append([]byte{0x83, 0x86, 0x84}, h2literal("content-type", "application/grpc;"+strings.Repeat("+", 120))...)
	others := map[string][]byte{"deflate": compressed(t, "deflate", 64), "br": compressed(t, "br", 64)}
	deflated := compressed(t, "deflate", 1)
	deflated = deflated[2 : len(deflated)-4] // without what zlib's format has around it
	return []attack{
		{"SYN flood", false, 300_000, func(a *attacker, _ int) { a.peer().send(0, 0x02, nil) }},
		{"idle connections", false, 100_000, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get)
			p.say(1, []byte(answer(100)))
		}},
		{"connections that end at once", false, 700_000, func(a *attacker, _ int) {
			p := a.peer()
			p.send(0, 0x02, nil)
			p.send(1, 0x14, nil)
		}},
		{"headers without end", false, 1_500, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get[:len(get)-2])
			p.say(0, filler)
		}},
		{"one header section without end", true, 500, func(a *attacker, i int) {
			if i == 0 {
				one = a.open()
				one.say(0, get[:len(get)-2])
			}
			one.say(0, filler)
		}},
		{"trailers without end", false, 1_500, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get)
			p.say(1, []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"))
			p.say(1, filler)
		}},
		{"gaps that never close", false, 1_000, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get)
			p.seq[0] += 100 // never sent
			for range 80 {
				p.send(0, 0x18, kib)
			}
		}},
		{"requests that are never answered", false, 600, func(a *attacker, _ int) {
			p := a.open()
			for range 60 {
				p.say(0, get[:len(get)-2])
				p.say(0, filler[:1400])
				p.say(0, []byte("\r\n"))
			}
		}},
		{"answers to nothing", true, 2_000, func(a *attacker, _ int) {
			p := a.open()
			for range 70 {
				p.say(1, []byte(answer(200)))
			}
		}},
		{"bodies that never end", false, 1_500, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get)
			p.say(1, []byte("HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"))
			for range 45 {
				p.say(1, kib)
			}
		}},
		{"a start line byte by byte", false, 4_200, func(a *attacker, _ int) {
			p := a.open()
			for i := range 120 {
				p.send(0, 0x18, []byte{("POST /" + strings.Repeat("a", 250))[i]})
			}
		}},
		{"HTTP/2 header blocks that never end", false, 400, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, preface)
			p.say(0, h2frame(1, 0, 1, h2literal("x", strings.Repeat("a", 8000))))
			for range 24 {
				p.say(0, h2frame(9, 0, 1, h2literal("x", strings.Repeat("a", 8000))))
			}
		}},
		{"HTTP/2 tables that grow", false, 700, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, preface)
			p.say(1, h2frame(4, 0, 0, []byte{0, 1, 0, 1, 0, 0})) // a table of 64 KiB
			block := []byte{0x3f, 0xe1, 0xff, 0x03, 0x82, 0x87, 0x84}
			for i := range 60 {
				p.say(0, h2frame(1, 5, uint32(2*i+1), append(block, h2literal("x", strings.Repeat("a", 1000))...)))
				block = []byte{0x82, 0x87, 0x84}
			}
		}},
		{"HTTP/2 streams that never close", false, 120, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, preface)
			for i := range 900 {
				p.say(0, h2frame(1, 4, uint32(2*i+1), append([]byte{0x83, 0x87, 0x84}, h2literal("x", strings.Repeat("a", 200))...)))
			}
		}},
		{"gzip bombs", true, 20, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get)
			p.say(1, bomb("gzip", gzipped))
		}},
		{"zstd bombs", true, 20, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get)
			p.say(1, bomb("zstd", zstded))
		}},
		{"windows of br", true, 20, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get)
			body := []byte("0")
			for range 4 { // 24 bits of window, and a block of 16 MiB
				body = append([]byte{0xcf, 0xff, 0xff, 0xff}, body...)
			}
			p.say(1, bomb("br, br, br, br", body))
		}},
		{"deflate and br bombs", true, 20, func(a *attacker, _ int) {
			for coding, body := range others {
				p := a.open()
				p.say(0, get)
				p.say(1, bomb(coding, body))
			}
		}},
		{"bombs within bombs", true, 20, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, get)
			p.say(1, bomb("gzip, gzip, gzip, gzip", again(3, gzipped)))
			p.say(0, get)
			p.say(1, bomb("zstd, gzip, zstd, gzip", again(1, zstded)))
		}},
		{"HTTP/2 frames without end", true, 100, func(a *attacker, i int) {
			if i == 0 {
				one = a.open()
				one.say(0, preface)
			}
			one.say(0, bytes.Repeat(h2frame(4, 0, 0, []byte{0, 1, 0xff, 0xff, 0xff, 0xff}), 300)) // SETTINGS: tables of 4 GiB
			one.say(0, bytes.Repeat(h2frame(6, 0, 0, make([]byte, 8)), 300))                      // PING
			for k := range 300 {                                                                  // requests, reset at once
				stream := uint32(600*i + 2*k + 1)
				one.say(0, append(h2frame(1, 5, stream, []byte{0x82, 0x87, 0x84}), h2frame(3, 0, stream, []byte{0, 0, 0, 8})...))
			}
			one.say(0, h2frame(1, 0, uint32(600*i+601), []byte{0x82, 0x87, 0x84}))
			one.say(0, bytes.Repeat(h2frame(9, 0, uint32(600*i+601), nil), 300)) // CONTINUATION without anything
			one.say(0, h2frame(9, 4, uint32(600*i+601), nil))
		}},
		{"gRPC messages of 4 GiB", false, 1_000, func(a *attacker, _ int) {
			p := a.open()
			p.say(0, preface)
			for k := range 60 {
				stream := uint32(2*k + 1)
				p.say(0, h2frame(1, 4, stream, grpc))
				p.say(0, h2frame(0, 0, stream, append([]byte{0, 0xff, 0xff, 0xff, 0xff}, kib...)))
			}
		}},
		{"WebSocket messages in fragments without end", false, 3_500, func(a *attacker, _ int) {
			p := a.open()
			p.socket()
			for range 70 {
				p.say(1, wsFrame(0x00, false, kib))
				p.say(0, wsFrame(0x02, true, []byte{1}))
			}
		}},
		{"windows of WebSocket", false, 1_500, func(a *attacker, _ int) {
			p := a.open()
			p.socket()
			p.say(0, wsFrame(0xc2, true, deflated))
			p.say(1, wsFrame(0xc2, false, deflated))
		}},
		{"tunnels within tunnels", false, 30_000, func(a *attacker, _ int) {
			p := a.open()
			for range 3 {
				p.say(0, []byte(asks4A))
				p.say(1, []byte(grants4))
				p.say(0, []byte("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"))
				p.say(1, []byte("HTTP/1.1 200 OK\r\n\r\n"))
			}
			p.say(0, get[:len(get)-2])
		}},
		{"VXLAN within VXLAN", true, 50_000, func(a *attacker, _ int) {
			packet := ipv4Header(6, 40)
			for range 16 {
				packet = slices.Concat(ipv4Header(17, 36+14+len(packet)), udpHeader(4789, 22+len(packet)), []byte{8, 0, 0, 0, 0, 0, 7, 0}, make([]byte, 12), []byte{8, 0}, packet)
			}
			a.frame(slices.Concat(make([]byte, 12), []byte{8, 0}, packet))
		}},
		{"fragments that never meet", false, 100_000, func(a *attacker, i int) {
			b := a.buf[:14+20+1400]
			clear(b)
			b[12] = 0x08
			ip := b[14:]
			ip[0], ip[8], ip[9] = 0x45, 64, 6
			binary.BigEndian.PutUint16(ip[2:], 1420)
			binary.BigEndian.PutUint16(ip[4:], uint16(i))
			ip[6] = 0x20 // more fragments
			binary.BigEndian.PutUint32(ip[12:], uint32(i))
			a.frame(b)
		}},
	}
}

// inUse is what Go's runtime has from the system: what the cap is on.
func inUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// TestHostileMemory feeds the engine what is made to use memory up, and holds it
// to the cap all the time. Without the cap the same exceeds it, or a limit of
// its own bounds it; either is checked.
func TestHostileMemory(t *testing.T) {
	for i, x := range attacks(t) {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			peak, s := x.run(nil, 1, false)
			if exceeds := peak > hostileCap; exceeds == x.bounded {
				t.Fatalf("without the cap it takes %d MiB", peak>>20)
			}
			for _, shards := range []int{1, 2 + i%7} {
				most := uint64(max(hostileCap, shards*capOfShard))
				b := memory.NewBudget(most)
				peak, s = x.run(b, shards, true)
				b.Close()
				if peak > most {
					t.Errorf("%d shards: %d MiB in use under a cap of %d MiB", shards, peak>>20, most>>20)
				}
				if shed := s.Reassembly.Shed + s.Reassembly.ShedTuples + s.Reassembly.ShedConnections + s.Defrag.Dropped[defrag.DropShed]; shed == 0 && !x.bounded {
					t.Errorf("%d shards: nothing is counted as shed", shards)
				}
				checkAccount(t, &s)
				t.Logf("%d shards: peak %d MiB, shed: %d holes, %d tuples, %d fragments, %d connections", shards, peak>>20,
					s.Reassembly.Shed, s.Reassembly.ShedTuples, s.Defrag.Dropped[defrag.DropShed], s.Reassembly.ShedConnections)
			}
		})
	}
}

// run returns the most memory that was in use. Unless whole it stops when the
// cap is exceeded.
func (x *attack) run(b *memory.Budget, shards int, whole bool) (peak uint64, s Snapshot) {
	debug.FreeOSMemory() // what the last one has left
	a := &attacker{now: 1e9}
	a.check = func() {
		used := inUse()
		if b == nil && used > hostileCap {
			// Without a cap nothing waits for the collector, which may be late
			// where others use the processors: garbage is not what is held.
			debug.FreeOSMemory()
			used = inUse()
		}
		peak = max(peak, used)
	}
	a.e = New(Config{
		Memory:     b,
		Defrag:     defrag.Config{MaxBytes: 1 << 30},
		Reassembly: reassembly.Config{MaxConnections: 1 << 20, MaxQueuedTotal: 1 << 30},
		Exchange:   exchange.Config{Keep: exchange.NewKeep(64<<10, nil, nil), Emit: func(*capstanv1.Exchange) {}},
		Shards:     shards,
		Encode:     ndjson.Append,
		Write:      func([]byte) {},
	})
	for i := 0; i < x.rounds && (whole || peak <= hostileCap); i++ {
		x.step(a, i)
	}
	a.check()
	a.e.Finish()
	return peak, a.e.Snapshot()
}

// TestShardsShedTogether: as long as too much is in use, all shards shed, step by step, and
// no frame has to come for that: each takes a step at least whenever the source pauses.
func TestShardsShedTogether(t *testing.T) {
	const shards, connections = 4, 64
	over := make(chan struct{}, 1)
	a := &attacker{now: 1e9, check: func() {}, e: New(Config{
		Shards: shards, Memory: budgetOf(t, hostileCap), Encode: ndjson.Append, Write: func([]byte) {}, Drained: func() { over <- struct{}{} },
	})}
	for range connections {
		a.open().say(0, []byte(get(1)))
	}
	drain := func() {
		a.e.Drained()
		<-over
	}
	drain() // or a shard sheds amid its frames, and then opens more
	hog := make([]byte, hostileCap/2)
	runtime.GC()
	for range memory.All + 2 { // the first may begin it, and the last tells of it
		drain()
	}
	if s := a.e.Snapshot(); s.Reassembly.ShedConnections != connections {
		t.Errorf("%d of %d connections were shed", s.Reassembly.ShedConnections, connections)
	}
	runtime.KeepAlive(hog)
	a.e.Finish()
	<-over
}

// TestSilentSourceSheds: where the connections of a source that is silent are too much, those of
// another one stay.
func TestSilentSourceSheds(t *testing.T) {
	const enough, tooMuch = 12 << 20, 20 << 20 // but not so much that nobody is waited for
	b := budgetOf(t, hostileCap)
	source := func() *attacker {
		return &attacker{now: 1e9, check: func() {}, e: New(Config{Memory: b, Engines: 2, Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) {}}})}
	}
	shed := func(a *attacker) uint64 { return a.e.Snapshot().Reassembly.ShedConnections }
	many, few := source(), source()
	for memory.InUse() < enough {
		for range 256 {
			many.open().say(0, []byte(get(1)))
		}
		runtime.GC()
	}
	few.open().say(0, []byte(get(1)))
	many.e.Drained()
	hog := make([]byte, tooMuch-memory.InUse())
	runtime.GC()
	for range 10 {
		few.e.Drained()
	}
	if b.Rounds() == 0 || shed(few) != 0 || shed(many) != 0 {
		t.Errorf("while the other is silent: %d and %d were shed in %d rounds", shed(few), shed(many), b.Rounds())
	}
	many.e.Drained()
	few.e.Drained()
	if n := uint64(many.peers); shed(few) != 0 || shed(many) < n/4 {
		t.Errorf("then %d, and %d of %d were shed", shed(few), shed(many), n)
	}
	runtime.KeepAlive(hog)
	many.e.Finish()
	few.e.Finish()
}
