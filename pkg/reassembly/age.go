package reassembly

// ageList holds connections of one kind in the order of their last activity,
// oldest first, so that timeouts never need a scan. The order is kept to within
// grain, which saves moving a busy connection on each segment.
type ageList struct {
	first, last *connection
	count       int
	timeout     int64
	grain       int64
}

// maxGrain bounds how late a timeout may be noticed.
const maxGrain = 250e6

func newAgeList(timeout int64) ageList {
	return ageList{timeout: timeout, grain: min(timeout/64, maxGrain)}
}

// append puts c at the young end.
func (l *ageList) append(c *connection, now int64) {
	c.list, c.listed = l, now
	c.prev, c.next = l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.count++
}

func (l *ageList) remove(c *connection) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next, c.list = nil, nil, nil
	l.count--
}

// touch notes activity of c.
func (c *connection) touch(now int64) {
	c.last = now
	if l := c.list; now-c.listed > l.grain {
		l.remove(c)
		l.append(c, now)
	}
}

// due reports whether c has been silent too long.
func (c *connection) due(now int64) bool { return c.last+c.list.timeout <= now }

// sweep closes the connections whose time is over.
func (a *Assembler) sweep() {
	for _, l := range []*ageList{&a.embryonic, &a.established, &a.lingering} {
		for l.first != nil && l.first.due(a.now) {
			a.expire(l.first)
		}
	}
	a.nextSweep = a.now + sweepInterval
}

// sweepInterval is how often Segment looks for connections to close, for users
// that do not call Advance. Nanoseconds.
const sweepInterval = 1e9

// expire ends a connection that is due.
func (a *Assembler) expire(c *connection) {
	if c.state == stateLingering {
		a.forget(c)
		return
	}
	a.close(c, c.lastTime, CloseTimeout)
}

// evict makes room for one connection. Tuples that linger go first, since they
// only serve to recognise late segments. A flood of SYNs may take up to half of
// the table; beyond that it pays for itself. Else the least recently active
// connection goes.
func (a *Assembler) evict() {
	if c := a.lingering.first; c != nil {
		a.forget(c)
		return
	}
	c, e := a.established.first, a.embryonic.first
	if c == nil || e != nil && (a.embryonic.count > a.cfg.MaxConnections/2 || e.last < c.last) {
		c = e
	}
	a.close(c, c.lastTime, CloseEvicted)
}
