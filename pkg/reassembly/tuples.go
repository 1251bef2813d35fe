package reassembly

import "capstan/pkg/flow"

// tuple is what is kept of a connection that is closed, for its late segments. There
// may be very many, so it has what these take and no pointer.
type tuple struct {
	key       flow.Key
	half      [2]closedHalf
	queued    int64 // assembler time when it was put at the end of the queue
	last      int64 // that of the last segment that counts
	synced    [2]bool
	closedBy  CloseReason
	closedDir flow.Direction // of the segment that closed it
	forgotten bool
}

// closedHalf is one direction of a tuple.
type closedHalf struct {
	first  uint32 // sequence number of stream offset 0
	next   uint32 // that of what would have come, as its reset told if it did
	recent uint32 // as in half
}

// tuples is a queue, the oldest tuple first. Its memory comes and goes with what is
// in it, a block at a time; what is forgotten keeps its place as long as an older one is
// there. The number of a tuple stays as long as its place does.
type tuples struct {
	blocks     [][]tuple
	first      uint32 // position of the first of blocks
	head, tail uint32 // positions of the oldest tuple, and behind the youngest
	count      int    // of those that are not forgotten
}

const (
	// tupleBlock is how many tuples a block has: a power of two.
	tupleBlock = 64
	// A position is 31 bits, and goes round. Its number has one bit more, which is
	// always set: 0 is none's.
	tuplePositions = 1 << 31
)

// at returns the tuple of that number.
func (q *tuples) at(number uint32) *tuple {
	i := (number - q.first) % tuplePositions
	return &q.blocks[i/tupleBlock][i%tupleBlock]
}

// oldest returns the number of the oldest tuple, 0 if there is none.
func (q *tuples) oldest() uint32 {
	if q.count == 0 {
		return 0
	}
	return q.head | tuplePositions
}

// add returns the number of a new tuple.
func (q *tuples) add() uint32 {
	if (q.tail-q.first)%tuplePositions == uint32(len(q.blocks)*tupleBlock) {
		q.blocks = append(q.blocks, make([]tuple, tupleBlock))
	}
	number := q.tail | tuplePositions
	q.tail = (q.tail + 1) % tuplePositions
	q.count++
	return number
}

// isSparse reports whether most places are of forgotten tuples, which whoever opens the
// same connection again and again may make very many.
func (q *tuples) isSparse() bool {
	return (q.tail-q.head)%tuplePositions > uint32(2*q.count+16*tupleBlock)
}

// remove forgets a tuple.
func (q *tuples) remove(number uint32) {
	q.at(number).forgotten = true
	q.count--
	for q.head != q.tail && q.at(q.head).forgotten {
		if q.head = (q.head + 1) % tuplePositions; q.head%tupleBlock == 0 {
			q.blocks[0] = nil
			q.blocks, q.first = q.blocks[1:], q.head
		}
	}
}
