package reassembly

// Shed frees memory at the cost of what is told, in this order: what waits behind
// holes, which are declared lost; the tuples that linger; the segments that are
// remembered; the older half of the connections of which only the first steps of a
// handshake were seen; memory kept for reuse. If that was not enough the last time, it closes one of so many of
// all other connections, rounded up, those that were silent for longest; 0 closes none.
func (a *Assembler) Shed(oneOf int) {
	for h := a.oldestHole(); h != nil; h = a.oldestHole() {
		a.stats.Shed++
		a.declare(h)
	}
	a.stats.ShedTuples += uint64(a.conns.tuples.count)
	a.forgetTuples(0)
	a.stats.ShedHistory += uint64(a.history.forget())
	a.shedOldest(listEmbryonic, 2)
	if oneOf > 0 {
		a.shedOldest(listEstablished, oneOf)
	}
	a.free, a.chunk, a.freePending = nil, nil, nil
	a.buffers.release()
	a.conns.shrink()
}

// shedOldest closes one of so many connections of a list, rounded up.
func (a *Assembler) shedOldest(k listKind, of int) {
	l := &a.lists[k]
	for range (l.count + of - 1) / of {
		c := l.first
		a.stats.ShedConnections++
		a.close(c, c.lastTime, CloseEvicted)
	}
}
