package reassembly

// Shed frees memory at the cost of what is told, in this order: what waits behind
// holes, which are declared lost; the tuples that linger; the older half of the
// connections of which only the first steps of a handshake were seen; memory
// kept for reuse. If that was not enough the last time, hard closes the quarter
// of all other connections that was silent for longest, too.
func (a *Assembler) Shed(hard bool) {
	for len(a.holes) > 0 {
		a.stats.Shed++
		a.declare(a.holes[0])
	}
	a.stats.ShedTuples += uint64(a.lingering.count)
	for a.lingering.first != nil {
		a.forget(a.lingering.first)
	}
	a.shedOldest(&a.embryonic, (a.embryonic.count+1)/2)
	if hard {
		a.shedOldest(&a.established, (a.established.count+3)/4)
	}
	a.free, a.freePending = nil, nil
	a.buffers.release()
	a.conns.shrink()
}

// shedOldest closes n connections of l.
func (a *Assembler) shedOldest(l *ageList, n int) {
	for range n {
		c := l.first
		a.stats.ShedConnections++
		a.close(c, c.lastTime, CloseEvicted)
		if c.state == stateLingering {
			a.forget(c)
		}
	}
}
