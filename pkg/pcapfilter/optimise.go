package pcapfilter

// fact is a test and how it came out, in a list of all those on the way.
type fact struct {
	test   test
	result bool
	before *fact
	other  *fact // the last before that is about another value
	depth  int
}

// How far back a decision looks, so that the work grows with the length of the
// program only: at so many values, and so many facts in a row about one. A long
// list of hosts is many facts about two values.
const (
	maxValues = 200
	maxFacts  = 100
)

// rounds bounds how often optimise goes over the graph. A round rarely finds
// much that the first has left.
const rounds = 3

// optimise returns a graph that decides every frame as the one at root does,
// without the tests whose result is known where they are reached. Since a known
// result means that the same value was loaded before, this holds for frames
// too short for a load as well.
func optimise(root *vertex) *vertex {
	for range rounds {
		thread(root)
		root = newGraph().rebuild(root)
	}
	return root
}

// thread lets every edge pass over the tests that are decided on it.
func thread(root *vertex) {
	vertices := order(root)
	for _, v := range vertices {
		v.facts, v.reached = nil, false
	}
	root.reached = true
	for _, v := range vertices {
		// An edge leads only to vertices that come later, and threading only
		// further on, so all edges to v are final here.
		if v.isVerdict() || !v.reached {
			continue
		}
		v.yes = follow(v.yes, v.facts.add(v.test, true))
		v.no = follow(v.no, v.facts.add(v.test, false))
	}
}

// follow returns where an edge on which facts hold leads to from v, and notes
// them there.
func follow(v *vertex, facts *fact) *vertex {
	for !v.isVerdict() {
		result, known := decide(v.test, facts)
		if !known {
			break
		}
		if result {
			v = v.yes
		} else {
			v = v.no
		}
	}
	switch {
	case v.isVerdict():
	case v.reached:
		v.facts = common(v.facts, facts)
	default:
		v.facts, v.reached = facts, true
	}
	return v
}

// add returns the list with one more fact.
func (f *fact) add(t test, result bool) *fact {
	other := f
	if f != nil && f.test.value == t.value {
		other = f.other
	}
	return &fact{test: t, result: result, before: f, other: other, depth: f.length() + 1}
}

func (f *fact) length() int {
	if f == nil {
		return 0
	}
	return f.depth
}

// common returns the facts that are in both lists.
func common(a, b *fact) *fact {
	for a != b {
		if a.length() > b.length() {
			a = a.before
		} else if b.length() > a.length() {
			b = b.before
		} else {
			a, b = a.before, b.before
		}
	}
	return a
}

// decide returns the result of t if one of the facts implies it.
func decide(t test, facts *fact) (result, known bool) {
	for n := 0; facts != nil && n < maxValues; facts, n = facts.other, n+1 {
		if facts.test.value != t.value {
			continue
		}
		for f, m := facts, 0; f != facts.other && m < maxFacts; f, m = f.before, m+1 {
			if result, known := implies(f, t); known {
				return result, true
			}
		}
	}
	return false, false
}

// implies returns the result of t, which is about the value that f is about,
// if f tells it.
func implies(f *fact, t test) (result, known bool) {
	if f.test == t {
		return f.result, true
	}
	if f.test.with != nil || t.with != nil {
		return false, false
	}
	if f.test.compare == equal && f.result {
		return holds(t.compare, f.test.k, t.k), true
	}
	if f.test.compare == anyBit {
		return f.bitsImply(t)
	}
	low, high, ok := f.interval()
	if !ok {
		return false, false
	}
	return decided(t, low, high)
}

// bitsImply is implies for a fact about bits.
func (f *fact) bitsImply(t test) (result, known bool) {
	switch {
	case t.compare == equal:
		return false, holds(anyBit, t.k, f.test.k) != f.result
	case t.compare != anyBit:
		return false, false
	case f.result:
		return true, f.test.k&^t.k == 0 // one of fewer bits is set
	}
	return false, t.k&^f.test.k == 0 // none of more bits is set
}

// interval returns the least and most that the value can be, if f restricts
// it to an interval.
func (f *fact) interval() (low, high uint32, ok bool) {
	const most = 1<<32 - 1
	k := f.test.k
	switch {
	case f.test.compare == greater && f.result && k < most:
		return k + 1, most, true
	case f.test.compare == greater && !f.result:
		return 0, k, true
	case f.test.compare == greaterEqual && f.result:
		return k, most, true
	case f.test.compare == greaterEqual && !f.result && k > 0:
		return 0, k - 1, true
	}
	return 0, 0, false
}

// decided returns the result of t if it is the same for all values of an
// interval.
func decided(t test, low, high uint32) (result, known bool) {
	switch t.compare {
	case equal:
		return false, t.k < low || t.k > high
	case greater, greaterEqual:
		result = holds(t.compare, low, t.k)
		return result, result == holds(t.compare, high, t.k)
	}
	return false, false
}

// rebuild copies what can be reached from root into g, where vertices that
// have become equal are one.
func (g *graph) rebuild(root *vertex) *vertex {
	copies := make(map[*vertex]*vertex)
	vertices := order(root)
	for i := len(vertices) - 1; i >= 0; i-- {
		v := vertices[i]
		switch {
		case !v.isVerdict():
			copies[v] = g.vertex(v.test, copies[v.yes], copies[v.no])
		case v.accept:
			copies[v] = g.accept
		default:
			copies[v] = g.refuse
		}
	}
	return copies[root]
}
