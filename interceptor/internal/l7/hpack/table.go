package hpack

// EntryOverhead is how many bytes an entry counts for besides its text (RFC 7541 §4.1).
const EntryOverhead = 32

// entrySize is the size of an entry, or the least it can have.
func entrySize(e *Field) uint64 {
	return uint64(len(e.Name)) + uint64(len(e.Value)) + EntryOverhead
}

// table is the window on the newest part of a dynamic table: a ring of the
// insertions that were seen. The value of each is known: only a name can be a reference
// behind the window. [Decoder.Recall] puts entries of which nothing is known among them.
type table struct {
	ring   []Field
	newest int32 // index of the newest entry
	n      int32
	size   uint64 // the entries' sizes, at the least

	// max is the size the real table may have, if maxKnown. Else it is that at the least, since
	// it had as many of the newest entries as reach tells.
	max      uint32
	reach    int32
	maxKnown bool
	// whole tells that the real table holds nothing behind the window.
	whole bool
	// cut tells that entries were dropped that the real table may have.
	cut bool
	// doubt is Decoder.Doubt's; it is kept where it takes no room.
	doubt bool
	// unsteady is what [Decoder.Steady] denies; it outlasts losses.
	unsteady bool
	// recalled: it has entries by [Decoder.Recall].
	recalled bool
	// screened is what Scratch.screened was when entries were marked.
	screened uint16
	// came is how many bytes entries that were seen to come in counted for, of the last read
	// bytes of header blocks, or some more. They outlast losses.
	came, read uint32
}

// at returns the i-th newest entry, from 0.
func (t *table) at(i int) *Field {
	at := int(t.newest) - i
	if at < 0 {
		at += len(t.ring)
	}
	return &t.ring[at]
}

// insert adds e. keep is how much text the window may hold, whatever the real
// table does; cut tells that entries were dropped because of it.
func (t *table) insert(e *Field, keep uint64) (cut bool) {
	if int(t.n) == len(t.ring) {
		t.grow()
	}
	if t.newest++; int(t.newest) == len(t.ring) {
		t.newest = 0
	}
	t.ring[t.newest] = *e
	t.n++
	size := entrySize(e)
	t.size += size
	t.came += uint32(min(size, maxCounted))
	t.evict()
	for t.size > keep && t.n > 0 {
		t.dropOldest()
		t.whole, t.cut = false, true
		cut = true
	}
	return cut
}

// grow makes room for half as much again: of an idle connection's memory the
// tables are the most.
func (t *table) grow() {
	ring := make([]Field, max(4, len(t.ring)*3/2))
	for i := range int(t.n) {
		ring[int(t.n)-1-i] = *t.at(i)
	}
	t.ring, t.newest = ring, t.n-1
}

// reached notes that the real table has the n newest entries. What it costs to add them up is
// spent when there are more of them than before.
func (t *table) reached(n int) {
	if t.maxKnown || n <= int(t.reach) {
		return
	}
	t.reach = int32(n)
	known := min(n, int(t.n))
	size := uint64(n-known) * EntryOverhead
	for i := range known {
		size += entrySize(t.at(i))
	}
	t.max = uint32(min(max(uint64(t.max), size), maxInteger))
}

// resize takes a size update.
func (t *table) resize(size uint32) {
	t.limit(size)
	t.max, t.maxKnown = size, true
	if size < EntryOverhead {
		t.whole = true // no entry fits
	}
	t.evict()
}

// screen marks the entries anew.
func (t *table) screen(by *Scratch) {
	for i := range int(t.n) {
		e := t.at(i)
		e.Passed = by.passed(e)
	}
	t.screened = by.screened
}

// passed reports whether an entry passes.
func (s *Scratch) passed(e *Field) bool {
	return s.passes != nil && !e.NameUnknown && !e.ValueUnknown && e.UTF8 && s.passes(e.Name, e.Value)
}

// maxCounted bounds what came and read count at once, and in all.
const maxCounted = 1 << 24

// count notes that a block of n bytes comes.
func (t *table) count(n int) {
	if t.read > maxCounted || t.came > maxCounted {
		t.read, t.came = t.read/2, t.came/2
	}
	t.read += uint32(min(n, maxCounted))
}

// limit notes that the table may become that small.
func (t *table) limit(size uint32) {
	empty := t.whole && t.n == 0
	t.unsteady = t.unsteady || !empty && (!t.maxKnown || size < t.max)
}

// evict drops what the real table has certainly dropped.
func (t *table) evict() {
	for t.maxKnown && t.size > uint64(t.max) && t.n > 0 {
		t.dropOldest()
		t.whole = true // and everything older went before
	}
}

func (t *table) dropOldest() {
	e := t.at(int(t.n) - 1)
	t.size -= entrySize(e)
	*e = Field{} // lets its text go
	t.n--
}

// forget drops everything: an insertion was not seen.
func (t *table) forget() {
	*t = table{doubt: t.doubt, screened: t.screened, unsteady: t.unsteady, came: t.came, read: t.read}
}

// follow puts the entries of before behind those of t and unseen ones that nothing is known
// of, marked if they are doubted.
func (t *table) follow(before table, unseen int, doubted bool, keep uint64) {
	if t.whole || t.cut {
		return // they aren't there any more, or not next to each other
	}
	for i := range int(before.n) {
		e := before.at(i)
		e.Doubted = e.Doubted || doubted
	}
	for range unseen {
		before.insert(&unknown, keep)
	}
	if t.maxKnown {
		before.max = max(before.max, t.max) // some came in when it was that already
	}
	for i := int(t.n) - 1; i >= 0; i-- {
		before.insert(t.at(i), keep)
	}
	if t.maxKnown {
		before.resize(t.max)
	}
	before.screened = 0 // it may be marked by another
	before.doubt, before.unsteady, before.came, before.read = t.doubt, t.unsteady, t.came, t.read
	*t = before
}
