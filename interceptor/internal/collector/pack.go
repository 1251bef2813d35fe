package collector

import (
	"fmt"

	"capstan/interceptor/internal/delivery"
)

// recordsLen bounds the records of one message, each with what stands before
// it: MaxMessage less what else a DeliverRequest has.
const recordsLen = MaxMessage - 64

// recordOverhead is at least what stands before a record in a Batch: its tag,
// and a length of up to 28 bits.
const recordOverhead = 5

// pack takes as many records from the start of batch as one message may have.
// taken counts those that are dealt with, of which tooLong are in no message,
// since none may be so long.
func pack(batch []*delivery.Record) (exchanges [][]byte, taken, tooLong int) {
	size := 0
	for _, r := range batch {
		n := len(r.Raw) + recordOverhead
		switch {
		case n > recordsLen:
			tooLong++
		case size+n > recordsLen:
			return exchanges, taken, tooLong
		default:
			size += n
			exchanges = append(exchanges, r.Raw)
		}
		taken++
	}
	return exchanges, taken, tooLong
}

// rejection is the error for the records of a batch that will never be taken:
// by the server, or since they are too long. Nil: there are none.
func (s *Sink) rejection(byServer uint64, tooLong int) error {
	switch {
	case byServer == 0 && tooLong == 0:
		return nil
	case tooLong == 0:
		return &delivery.RejectError{Rejected: int(byServer), Err: fmt.Errorf("collector %s does not take them", s.cfg.Address)}
	}
	return &delivery.RejectError{
		Rejected: int(byServer) + tooLong,
		Err:      fmt.Errorf("%d are longer than a message may be, %d bytes; collector %s does not take %d", tooLong, MaxMessage, s.cfg.Address, byServer),
	}
}
