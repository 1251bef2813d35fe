package traffic

// Frame is one frame to send. Its buffer is its own: Data stays valid until the
// same Frame is handed to [Generator.Next] again, so a sender may fill a batch
// of them.
type Frame struct {
	Data []byte // starts with the Ethernet header
	Seq  uint64 // number of the frame, from 0

	stamp    int // where the mark's time is, 0: no mark
	checksum int // where the checksum that covers it is
}

// resize gives the frame n bytes, whatever they hold.
func (f *Frame) resize(n int) []byte {
	if cap(f.Data) < n {
		f.Data = make([]byte, n)
	}
	f.Data = f.Data[:n]
	return f.Data
}

// Counts says what a Generator has made so far.
type Counts struct {
	Frames      uint64 `json:"frames"`
	Bytes       uint64 `json:"bytes"`
	Connections uint64 `json:"connections,omitempty"` // ended ones
	Exchanges   uint64 `json:"exchanges,omitempty"`   // whose last byte has been made
}

// source is what makes the frames of a kind.
type source interface {
	next(*Frame) bool
	counts() Counts
}

// finisher is a source whose frames belong together.
type finisher interface {
	finish() // start nothing new
}

// Generator makes the frames of one plan. It is for one goroutine.
type Generator struct {
	plan   Plan
	source source
	ended  bool
}

// New checks the plan and prepares what it needs. All that is wrong with the
// plan is reported at once.
func New(p Plan) (*Generator, error) {
	p = p.withDefaults()
	if err := p.validate(); err != nil {
		return nil, err
	}
	g := &Generator{plan: p}
	var err error
	switch {
	case p.Kind.Conversation():
		g.source = newConversations(&g.plan)
	case p.Kind == File:
		g.source, err = newReplay(&g.plan)
	default:
		var lengths []int
		if lengths, err = frameLengths(&g.plan); err == nil {
			g.source = newTestFrames(&g.plan, lengths)
		}
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// Plan returns the plan with its defaults filled in.
func (g *Generator) Plan() Plan { return g.plan }

// Next makes the next frame in f and allocates nothing once f's buffer has
// grown. It returns false when the plan's Count or Connections is reached or
// after [Generator.Finish].
func (g *Generator) Next(f *Frame) bool {
	if !g.ended {
		g.ended = !g.source.next(f)
	}
	return !g.ended
}

// Finish makes Next end: at once for frames that stand alone, after the
// connections that are open for conversations.
func (g *Generator) Finish() {
	if s, ok := g.source.(finisher); ok {
		s.finish()
	} else {
		g.ended = true
	}
}

// Counts returns what has been made so far.
func (g *Generator) Counts() Counts { return g.source.counts() }
