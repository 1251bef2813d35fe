package traffic

import "encoding/binary"

// message is what one side says before it waits for the other.
type message struct {
	from      side
	data      []byte // never empty
	exchanges int    // that end with it
}

// script is what the two sides of a connection say, in order.
type script []message

// Limits of the scripts that are prepared; connections share them.
const (
	maxScripts   = 64
	maxScriptLen = 64 << 20 // of all together, unless a single one is longer
)

// newScripts prepares scripts that differ in their details.
func newScripts(p *Plan) []script {
	n := min(maxScripts, max(1, maxScriptLen/p.conversationLen()))
	if p.Connections != 0 {
		n = int(min(uint64(n), p.Connections))
	}
	scripts := make([]script, n)
	for i := range scripts {
		r := random(mix(p.Seed) + uint64(i)<<32)
		if p.Kind == HTTP1 {
			scripts[i] = http1Script(p, &r)
		} else {
			scripts[i] = http2Script(p, &r)
		}
	}
	return scripts
}

// conversations makes whole TCP connections. Many are open at a time, and which
// of them sends the next frame is drawn by lot.
type conversations struct {
	// immutable
	plan    *Plan
	scripts []script
	mss     int

	open     []connection
	started  uint64
	finished bool // no new ones
	done     Counts
}

func newConversations(p *Plan) *conversations {
	c := &conversations{
		plan: p, scripts: newScripts(p),
		mss:  p.Size.fixed - headerLen(p.IPv6, tcpLen),
		open: make([]connection, p.Flows),
	}
	for i := range c.open {
		if !c.more() {
			c.open = c.open[:i]
			break
		}
		c.open[i] = connection{slot: i}
		c.start(&c.open[i])
	}
	return c
}

// more reports whether another connection may start.
func (c *conversations) more() bool {
	return !c.finished && (c.plan.Connections == 0 || c.started < c.plan.Connections) &&
		(c.plan.Count == 0 || c.done.Frames < c.plan.Count)
}

// ports of the servers, which tell readers what to expect.
var serverPorts = [numKinds]uint16{HTTP1: 8080, HTTP2: 8080, GRPC: 50051}

// start begins the next connection of a slot: the hosts stay, the client's port
// goes up.
func (c *conversations) start(conn *connection) {
	const firstPort, ports = 10240, 55000
	p, slot := c.plan, uint64(conn.slot)
	h := mix(p.Seed ^ slot<<32)
	generation := conn.generation + 1
	if conn.generation == 0 {
		generation += uint32(h % ports)
	}
	id := mix(p.Seed + c.started)
	*conn = connection{
		slot: conn.slot, generation: generation,
		script: c.scripts[c.started%uint64(len(c.scripts))],
		link:   link{ipv6: p.IPv6},
		ends: [2]endpoint{
			client: {host: uint16(slot) ^ uint16(mix(p.Seed)), port: uint16(firstPort + generation%ports)},
			server: {host: 1 + uint16(h>>16)&0xff, port: serverPorts[p.Kind]},
		},
		seq: [2]uint32{uint32(id), uint32(id >> 32)},
	}
	if n := len(p.VLAN); n > 0 {
		conn.link.tagged, conn.link.vlan = true, p.VLAN[conn.slot%n]
	}
	c.started++
}

func (c *conversations) next(f *Frame) bool {
	if len(c.open) == 0 {
		return false
	}
	i := int(mix(c.plan.Seed^c.done.Frames) % uint64(len(c.open)))
	conn := &c.open[i]
	c.done.Exchanges += uint64(conn.step(f, c.mss))
	f.Seq = c.done.Frames
	c.done.Frames++
	c.done.Bytes += uint64(len(f.Data))
	if conn.phase != phaseClosed {
		return true
	}
	c.done.Connections++
	if c.more() {
		c.start(conn)
	} else {
		last := len(c.open) - 1
		c.open[i] = c.open[last]
		c.open = c.open[:last]
	}
	return true
}

func (c *conversations) finish() { c.finished = true }

func (c *conversations) counts() Counts { return c.done }

// phase is how far a connection has come; the name tells what is sent next.
type phase uint8

const (
	phaseSYN phase = iota
	phaseSYNACK
	phaseACK
	phaseData
	phaseClientFIN
	phaseServerFIN
	phaseLastACK
	phaseClosed
)

// connection is one TCP connection, seen from outside.
type connection struct {
	slot       int
	generation uint32
	link       link
	ends       [2]endpoint
	script     script

	phase   phase
	at      int       // message that is being sent
	offset  int       // bytes of it that were
	unacked int       // segments that their receiver hasn't acknowledged
	seq     [2]uint32 // next to send
	id      [2]uint16 // of the IPv4 header
}

// ackEvery is the number of segments after which their receiver acknowledges
// (RFC 9293, section 3.8.6.3).
const ackEvery = 2

// step makes the connection's next frame and returns the number of exchanges
// that end with it.
func (c *connection) step(f *Frame, mss int) (exchanges int) {
	if c.phase == phaseData {
		return c.stepData(f, mss)
	}
	switch c.phase {
	case phaseSYN:
		c.send(f, client, flagSYN, mss, nil)
	case phaseSYNACK:
		c.send(f, server, flagSYN|flagACK, mss, nil)
	case phaseACK, phaseLastACK:
		c.send(f, client, flagACK, mss, nil)
	case phaseClientFIN:
		c.send(f, client, flagFIN|flagACK, mss, nil)
	case phaseServerFIN:
		c.send(f, server, flagFIN|flagACK, mss, nil)
	}
	c.phase++
	return 0
}

func (c *connection) stepData(f *Frame, mss int) (exchanges int) {
	m := &c.script[c.at]
	if c.unacked == ackEvery {
		c.unacked = 0
		c.send(f, m.from.other(), flagACK, mss, nil)
		return 0
	}
	part := m.data[c.offset:min(c.offset+mss, len(m.data))]
	c.offset += len(part)
	c.unacked++
	if c.offset < len(m.data) {
		c.send(f, m.from, flagACK, mss, part)
		return 0
	}
	c.send(f, m.from, flagACK|flagPSH, mss, part)
	c.at, c.offset = c.at+1, 0
	if c.at == len(c.script) {
		c.phase++
	} else if c.script[c.at].from != m.from {
		c.unacked = 0 // the answer acknowledges
	}
	return m.exchanges
}

// send makes a segment and counts it in the sender's sequence numbers.
func (c *connection) send(f *Frame, from side, flags uint8, mss int, payload []byte) {
	var options []byte
	var space [12]byte
	win := uint16(window)
	if flags&flagSYN != 0 {
		// Maximum segment size, SACK permitted, window scale by 7, padding.
		options = append(space[:0], 2, 4, byte(mss>>8), byte(mss), 4, 2, 1, 3, 3, 7, 1, 1)
		win = 64240
	}
	to := from.other()
	var ack uint32
	if flags&flagACK != 0 {
		ack = c.seq[to]
	}
	transport := tcpLen + len(options) + len(payload)
	b := f.resize(c.link.networkOffset() + headerLen(c.link.ipv6, 0) - ethernetLen + transport)[:0]
	b = c.link.appendEthernet(b, from)
	b, s := c.link.appendIP(b, from, [2]uint16{c.ends[client].host, c.ends[server].host}, protocolTCP, c.id[from], transport)
	start := len(b)
	b = appendTCP(b, c.ends[from].port, c.ends[to].port, c.seq[from], ack, flags, win, options)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[start+tcpChecksumAt:], transportChecksum(s+sum(b[start:])))
	f.stamp = 0

	c.id[from]++
	c.seq[from] += uint32(len(payload))
	if flags&(flagSYN|flagFIN) != 0 {
		c.seq[from]++
	}
}
