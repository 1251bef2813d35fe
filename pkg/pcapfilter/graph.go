package pcapfilter

// vertex is a test, or one of the two verdicts, of the graph that a program
// is: the frame enters at the root and follows one edge of each test.
type vertex struct {
	test    test
	yes, no *vertex // both nil: a verdict
	accept  bool    // of a verdict

	// Of one round of the optimiser.
	facts   *fact // what is known of a frame here
	reached bool
}

func (v *vertex) isVerdict() bool { return v.yes == nil }

// graph makes vertices; equal ones are the same pointer.
type graph struct {
	known          map[vertexKey]*vertex
	accept, refuse *vertex
}

type vertexKey struct {
	test    test
	yes, no *vertex
}

func newGraph() *graph {
	return &graph{known: make(map[vertexKey]*vertex), accept: &vertex{accept: true}, refuse: &vertex{}}
}

// vertex returns the vertex of a test. If it refuses either way, there is no
// need to test: what is too short for the test would be refused as well.
func (g *graph) vertex(t test, yes, no *vertex) *vertex {
	if yes == g.refuse && no == g.refuse {
		return g.refuse
	}
	key := vertexKey{t, yes, no}
	if v := g.known[key]; v != nil {
		return v
	}
	v := &vertex{test: t, yes: yes, no: no}
	g.known[key] = v
	return v
}

// build returns the vertex from which frames that satisfy c go on to yes, and
// all others to no.
func (g *graph) build(c *condition, yes, no *vertex) *vertex {
	for {
		switch c.op {
		case junctionTrue:
			return yes
		case junctionFalse:
			return no
		case junctionNot:
			c, yes, no = c.left, no, yes
		case junctionAnd:
			yes = g.build(c.right, yes, no)
			c = c.left
		case junctionOr:
			no = g.build(c.right, yes, no)
			c = c.left
		default:
			return g.vertex(c.test, yes, no)
		}
	}
}

// order returns the vertices that can be reached from root, each before those
// that its edges lead to.
func order(root *vertex) []*vertex {
	type visit struct {
		v    *vertex
		step int
	}
	var done []*vertex
	seen := map[*vertex]bool{root: true}
	stack := []visit{{v: root}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		next := [...]*vertex{top.v.yes, top.v.no}
		if top.v.isVerdict() || top.step == len(next) {
			done = append(done, top.v)
			stack = stack[:len(stack)-1]
			continue
		}
		child := next[top.step]
		top.step++
		if !seen[child] {
			seen[child] = true
			stack = append(stack, visit{v: child})
		}
	}
	for i, j := 0, len(done)-1; i < j; i, j = i+1, j-1 {
		done[i], done[j] = done[j], done[i]
	}
	return done
}
