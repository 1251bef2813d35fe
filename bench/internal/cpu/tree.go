//go:build linux

package cpu

import (
	"sync"
	"time"
)

// pollInterval is how often a [Tree] looks for new processes. Of a process that
// came and went in between, only what its parent waited for is known, in ticks
// of 10 ms; of one that nobody waited for, nothing.
const pollInterval = 20 * time.Millisecond

// Tree accounts a process and its descendants, also those that have ended and
// those whose parent has.
type Tree struct {
	// Immutable.
	withoutRoot bool
	quit, done  chan struct{}
	closing     sync.Once

	mu sync.Mutex
	// Guarded by mu.
	alive  []*process       // in the order of discovery: a parent before its children
	byPID  map[int]*process // the same
	dead   []*process
	buffer []int // of poll
}

// process is what is known of one process.
type process struct {
	pid    int
	parent *process // that it was first seen under; nil for the root
	stat
	time time.Duration // of its own
}

// Watch starts to account the process root, which has to be alive, and its
// descendants. The caller has to Close the Tree.
func Watch(root int) (*Tree, error) { return watch(root, false) }

// WatchChildren is [Watch] for the descendants alone: the time of root itself
// doesn't count.
func WatchChildren(root int) (*Tree, error) { return watch(root, true) }

func watch(root int, withoutRoot bool) (*Tree, error) {
	if err := checkChildren(); err != nil {
		return nil, err
	}
	if _, err := Clock(root); err != nil {
		return nil, err
	}
	began, err := readStat(root)
	if err != nil {
		return nil, err
	}
	t := &Tree{
		withoutRoot: withoutRoot,
		quit:        make(chan struct{}), done: make(chan struct{}),
		byPID: make(map[int]*process),
	}
	t.add(root, nil, began)
	t.poll()
	go t.watch() // ends with Close, which waits
	return t, nil
}

func (t *Tree) watch() {
	defer close(t.done)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.mu.Lock()
			t.poll()
			t.mu.Unlock()
		case <-t.quit:
			return
		}
	}
}

// Close ends the accounting. Time still returns what was found last.
func (t *Tree) Close() {
	t.closing.Do(func() { close(t.quit) })
	<-t.done
}

// Time returns the processor time of all processes since each began.
func (t *Tree) Time() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.poll()
	var sum time.Duration
	for _, p := range t.alive {
		sum += t.total(p)
	}
	for _, p := range t.dead {
		// The other dead are part of what their parent waited for, or of what
		// ended under it.
		if p.parent == nil {
			sum += t.total(p)
		}
	}
	return sum
}

// total returns the time of p and of its descendants that have ended. For these
// there are two witnesses: the kernel's sum of what p waited for, which is
// coarse, and their own clocks as last read, which are old. Neither exceeds the
// truth.
func (t *Tree) total(p *process) time.Duration {
	var ended time.Duration
	for _, c := range t.dead {
		if c.parent == p {
			ended += t.total(c)
		}
	}
	if p.parent == nil && t.withoutRoot {
		return max(p.waited, ended)
	}
	return p.time + max(p.waited, ended)
}

// Processes returns the numbers of the processes alive, without the root if it
// doesn't count.
func (t *Tree) Processes() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.poll()
	var list []int
	for _, p := range t.alive {
		if p.parent != nil || !t.withoutRoot {
			list = append(list, p.pid)
		}
	}
	return list
}

// poll reads the clocks of all processes known and looks for new ones. Parents
// come first: what a parent has waited for can then not be alive any more when
// its turn comes, so nothing counts twice.
func (t *Tree) poll() {
	for i := 0; i < len(t.alive); i++ { // refresh appends what it finds
		t.refresh(t.alive[i])
	}
	living := t.alive[:0]
	for _, p := range t.alive {
		if t.byPID[p.pid] == p {
			living = append(living, p)
		}
	}
	clear(t.alive[len(living):])
	t.alive = living
}

func (t *Tree) refresh(p *process) {
	now, err := Clock(p.pid)
	var s stat
	if err == nil {
		s, err = readStat(p.pid)
	}
	if err != nil || s.started != p.started { // gone, its number perhaps another's
		delete(t.byPID, p.pid)
		t.dead = append(t.dead, p)
		return
	}
	p.stat, p.time = s, now
	t.buffer, err = readChildren(t.buffer[:0], p.pid)
	if err != nil {
		return // it is about to go, which the next poll sees
	}
	for _, child := range t.buffer {
		if t.byPID[child] != nil {
			continue
		}
		if s, err := readStat(child); err == nil { // else it has gone
			t.add(child, p, s)
		}
	}
}

func (t *Tree) add(pid int, parent *process, s stat) {
	p := &process{pid: pid, parent: parent, stat: s}
	t.alive = append(t.alive, p)
	t.byPID[pid] = p
}
