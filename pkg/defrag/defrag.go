package defrag

import (
	"time"

	"capstan/pkg/packet"
)

// Config bounds a defragmenter. The zero value of a field stands for its
// default; nothing is unlimited.
type Config struct {
	// Timeout is how long a datagram may take from its first fragment on, in
	// packet time. Default 30 s, as in Linux.
	Timeout time.Duration
	// MaxBytes is what all of them may hold, 256 bytes for each datagram and 64 for each
	// piece included. Default 4 MiB.
	MaxBytes int
}

const (
	defaultTimeout  = 30 * time.Second
	defaultMaxBytes = 4 << 20

	// maxPieces bounds the pieces of one datagram: twice what 64 KiB take on
	// Ethernet.
	maxPieces = 128
	// datagramCharge is what a datagram counts beside its pieces, also while it is only
	// remembered, and pieceCharge what a piece does beside its bytes.
	datagramCharge = 256
	pieceCharge    = 64
	// maxDatagram is the longest fragmentable part.
	maxDatagram = 65535
	// linger is how long a datagram that is complete, or refused, is remembered
	// for fragments of it that are captured once more. Nanoseconds.
	linger = 100e6
)

// Defragmenter puts the fragments of one source together. It is not safe for
// concurrent use.
type Defragmenter struct {
	cfg         Config // with defaults
	datagrams   map[key]*datagram
	first, last *datagram // in the order of their first fragment
	charge      int
	now         int64 // the latest time told
	joined      packet.Datagram
	buffer      []byte // of joined
	stats       Stats
}

// key tells datagrams apart.
type key struct {
	src, dst  [16]byte
	id, scope uint32
	protocol  byte // IPv4 only
	ipv6      bool
}

// DefaultConfig returns the configuration that the zero value stands for.
func DefaultConfig() Config { return Config{}.withDefaults() }

func (cfg Config) withDefaults() Config {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	return cfg
}

// New returns a defragmenter.
func New(cfg Config) *Defragmenter {
	return &Defragmenter{cfg: cfg.withDefaults(), datagrams: make(map[key]*datagram)}
}

// Fragment takes a fragment, captured at time (nanoseconds), and returns the
// datagram that it completes, or nil. The result is valid until the next call;
// f is not kept.
//
// Next: packet.Decoder.DecodeDatagram.
func (d *Defragmenter) Fragment(f *packet.Fragment, time int64) *packet.Datagram {
	d.Advance(time)
	d.stats.Fragments++
	if f.Missing > 0 {
		d.stats.Dropped[DropTruncated]++
		return nil
	}
	end := f.Offset + len(f.Payload)
	if len(f.Payload) == 0 || end > maxDatagram || f.More && len(f.Payload)%8 != 0 {
		d.stats.Dropped[DropMalformed]++
		return nil
	}
	g := d.find(f)
	if g == nil {
		g = d.add(f)
	}
	if r, ok := g.take(f, &d.stats); !ok {
		d.stats.Dropped[r]++
		if r == DropOverlap {
			d.finish(g, r)
		}
		return nil
	}
	g.fragments++
	d.stats.Waiting++
	d.charge += g.settle()
	var joined *packet.Datagram
	switch {
	case g.length == g.end:
		joined = d.join(g, f)
	case len(g.pieces) > maxPieces:
		d.finish(g, DropLimit)
	}
	d.limit()
	return joined
}

// limit drops the oldest datagrams until the others are within the bound.
func (d *Defragmenter) limit() {
	for d.charge > d.cfg.MaxBytes {
		d.remove(d.first, DropLimit)
	}
}

// Advance tells the packet time: it drops the datagrams whose time is over.
func (d *Defragmenter) Advance(now int64) {
	d.now = now
	for d.first != nil && now-d.first.at > int64(d.cfg.Timeout) {
		d.remove(d.first, DropTimeout)
	}
}

// Shed drops the older half of the datagrams, those remembered included, and lets go of
// memory kept for reuse.
func (d *Defragmenter) Shed() {
	for range (len(d.datagrams) + 1) / 2 {
		d.remove(d.first, DropShed)
	}
	d.datagrams = make(map[key]*datagram, len(d.datagrams)) // the one before keeps the room of what is gone
	for g := d.first; g != nil; g = g.next {
		d.datagrams[g.key] = g
	}
	d.joined, d.buffer = packet.Datagram{}, nil
}

// Flush drops all that waits, at the end of a capture.
func (d *Defragmenter) Flush() {
	for d.first != nil {
		d.remove(d.first, DropEnd)
	}
}

// Stats returns the counters as they stand.
func (d *Defragmenter) Stats() Stats {
	s := d.stats
	s.Charge = d.charge
	return s
}

func keyOf(f *packet.Fragment) key {
	k := key{src: f.Src, dst: f.Dst, id: f.ID, scope: f.Scope, ipv6: f.IPv6}
	if !f.IPv6 {
		k.protocol = f.Protocol
	}
	return k
}

// find returns the datagram of f, or nil. One that is over and has lingered is
// gone: its identification has come round.
func (d *Defragmenter) find(f *packet.Fragment) *datagram {
	g := d.datagrams[keyOf(f)]
	if g != nil && g.over && d.now-g.overAt > linger {
		d.remove(g, DropEnd)
		return nil
	}
	return g
}

// add makes a datagram for its first fragment.
func (d *Defragmenter) add(f *packet.Fragment) *datagram {
	g := &datagram{key: keyOf(f), at: d.now, end: -1, charge: datagramCharge, prev: d.last}
	d.charge += g.charge
	d.datagrams[g.key] = g
	if d.last != nil {
		d.last.next = g
	} else {
		d.first = g
	}
	d.last = g
	return g
}

// join hands out g, which f has completed.
func (d *Defragmenter) join(g *datagram, f *packet.Fragment) *packet.Datagram {
	d.buffer = d.buffer[:0]
	for i := range g.pieces {
		d.buffer = append(d.buffer, g.pieces[i].data...)
	}
	d.joined = f.Datagram
	d.joined.Protocol, d.joined.Payload = g.protocol, d.buffer
	d.stats.Datagrams++
	d.stats.Joined += uint64(g.fragments)
	d.stats.Waiting -= g.fragments
	g.fragments = 0
	d.finish(g, DropEnd)
	return &d.joined
}

// finish ends g, of which it drops what waits for reason r. It is remembered.
func (d *Defragmenter) finish(g *datagram, r DropReason) {
	d.stats.Dropped[r] += uint64(g.fragments)
	d.stats.Waiting -= g.fragments
	g.over, g.overAt = true, d.now
	g.pieces, g.length, g.fragments = nil, 0, 0
	d.charge += g.settle()
}

// remove forgets g.
func (d *Defragmenter) remove(g *datagram, r DropReason) {
	d.finish(g, r)
	d.charge -= g.charge
	delete(d.datagrams, g.key)
	if g.prev != nil {
		g.prev.next = g.next
	} else {
		d.first = g.next
	}
	if g.next != nil {
		g.next.prev = g.prev
	} else {
		d.last = g.prev
	}
}
