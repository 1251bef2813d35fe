package delivery

import (
	"context"
	"fmt"
)

// Sink hands records on to something outside. One goroutine uses it.
type Sink interface {
	// Deliver returns nil when all records of the batch are where they should
	// be. The batch is the caller's again then. A [*RejectError] says that
	// some of them will never be taken and the rest has been; after any other
	// error the same batch is delivered again, after a pause.
	Deliver(ctx context.Context, batch []*Record) error
	// Close ends the sink, writing what Deliver may have kept back.
	Close() error
}

// Cutter is a [Sink] that leaves something out of records that are too long for it.
type Cutter interface {
	// Cut returns how many of those delivered lack something. Any goroutine may call it.
	Cut() uint64
}

// RejectError says that the other side will never take some records of a batch,
// because of what they are. The others have been delivered.
type RejectError struct {
	Rejected int // how many, at least 1
	Err      error
}

// Error tells how many and why.
func (e *RejectError) Error() string {
	return fmt.Sprintf("%d records rejected: %v", e.Rejected, e.Err)
}

// Unwrap returns Err.
func (e *RejectError) Unwrap() error { return e.Err }
