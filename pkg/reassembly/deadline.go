package reassembly

// deadlines is a binary heap of the directions with a hole, the earliest
// deadline first. Each knows its place (half.slot), so that it can be moved.
type deadlines []*half

// schedule has the hole of h be due at t, in awaited or in holes.
func (a *Assembler) schedule(h *half, awaited bool, t int64) {
	if h.awaited != awaited {
		a.unschedule(h)
		h.awaited = awaited
	}
	a.deadlinesOf(h).set(h, t)
}

// unschedule takes h out of the heap that it is in, if it is in one.
func (a *Assembler) unschedule(h *half) {
	if h.pending != nil && h.slot != 0 {
		a.deadlinesOf(h).remove(h)
	}
}

// deadlinesOf returns the heap that h is in, if it is in one.
func (a *Assembler) deadlinesOf(h *half) *deadlines {
	if h.awaited {
		return &a.awaited
	}
	return &a.holes
}

// set puts h at its place for deadline t.
func (q *deadlines) set(h *half, t int64) {
	if h.slot == 0 {
		*q = append(*q, h)
		h.slot = len(*q)
	} else if h.deadline == t {
		return
	}
	h.deadline = t
	q.up(h.slot - 1)
	q.down(h.slot - 1)
}

// due appends the connections of the directions at place i and below whose
// deadline is over.
func (q deadlines) due(now int64, i int, to []*connection) []*connection {
	if i >= len(q) || q[i].deadline > now {
		return to
	}
	to = q.due(now, 2*i+1, append(to, q[i].conn))
	return q.due(now, 2*i+2, to)
}

// remove takes h out.
func (q *deadlines) remove(h *half) {
	i := h.slot - 1
	last := len(*q) - 1
	q.swap(i, last)
	(*q)[last] = nil
	*q = (*q)[:last]
	h.slot = 0
	if i < last {
		moved := (*q)[i]
		q.up(i)
		q.down(moved.slot - 1)
	}
}

func (q deadlines) swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].slot, q[j].slot = i+1, j+1
}

func (q deadlines) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if q[parent].deadline <= q[i].deadline {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q deadlines) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if child+1 < len(q) && q[child+1].deadline < q[child].deadline {
			child++
		}
		if q[i].deadline <= q[child].deadline {
			return
		}
		q.swap(i, child)
		i = child
	}
}
