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
//
// Of those that have ended there are two witnesses: their own clocks as last
// read, which are old, and the kernel's sum of what each living process has
// waited for, which is coarse and lacks what nobody waited for. Neither exceeds
// the truth, so the greater counts.
type Tree struct {
	// Immutable.
	withoutRoot bool
	quit, done  chan struct{}
	closing     sync.Once

	mu sync.Mutex
	// Guarded by mu.
	alive  []*process       // in the order of discovery: a parent before its children, whoever adopts an orphan before it
	byPID  map[int]*process // the same
	ended  time.Duration    // of those that have ended, by their own clocks
	found  time.Duration    // the most that a witness has said
	buffer []int            // of poll
}

// process is what is known of one process.
type process struct {
	pid  int
	root bool
	stat
	before time.Duration // waited, when it was first seen: children that the tree never saw
	time   time.Duration // of its own
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
	t.add(root, began).root = true
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
	return t.found
}

// Runnable reports whether a thread of the processes runs or waits for a
// processor: it has something to do, even if others leave it no time for it.
func (t *Tree) Runnable() bool {
	for _, pid := range t.Processes() {
		if Runnable(pid) {
			return true
		}
	}
	return false
}

// Processes returns the numbers of the processes alive, without the root if it
// doesn't count.
func (t *Tree) Processes() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.poll()
	var list []int
	for _, p := range t.alive {
		if t.counts(p) {
			list = append(list, p.pid)
		}
	}
	return list
}

// counts reports whether the time of p itself counts.
func (t *Tree) counts(p *process) bool { return !p.root || !t.withoutRoot }

// poll reads the clocks of all processes known, looks for new ones and hears the
// witnesses. Who waits for a process comes before it: what has been waited for
// can then not be alive any more when its turn comes, so nothing counts twice.
func (t *Tree) poll() {
	for i := 0; i < len(t.alive); i++ { // refresh appends what it finds
		t.refresh(t.alive[i])
	}
	living := t.alive[:0]
	clocks, waited := t.ended, time.Duration(0)
	for _, p := range t.alive {
		if t.byPID[p.pid] != p {
			continue
		}
		living = append(living, p)
		clocks += p.before
		waited += p.waited
		if t.counts(p) {
			clocks += p.time
			waited += p.time
		}
	}
	clear(t.alive[len(living):])
	t.alive = living
	t.found = max(t.found, clocks, waited)
}

func (t *Tree) refresh(p *process) {
	now, err := Clock(p.pid)
	var s stat
	if err == nil {
		s, err = readStat(p.pid)
	}
	if err != nil || s.started != p.started { // gone, its number perhaps another's
		delete(t.byPID, p.pid)
		t.ended += p.before
		if t.counts(p) {
			t.ended += p.time
		}
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
			t.add(child, s)
		}
	}
}

func (t *Tree) add(pid int, s stat) *process {
	p := &process{pid: pid, stat: s, before: s.waited}
	t.alive = append(t.alive, p)
	t.byPID[pid] = p
	return p
}
