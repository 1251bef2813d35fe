package delivery

import "errors"

// errNotOpen is why a spool takes no records yet.
var errNotOpen = errors.New("it can't be opened yet")

// OpenQueue starts a queue in front of a sink that could not be opened, with the
// error cause. It opens the sink, and the spool, as soon as they can be, with the
// pauses of a sink that fails; until then its policy decides about the records,
// but for those that a spool which isn't open can't take: these are dropped and
// counted as SpoolFull.
func OpenQueue(c Config, cause error, open func() (Sink, error)) *Queue {
	q := unstarted(c)
	q.opening.Store(true)
	q.fails(cause)
	q.start(func() bool { return q.openAll(open) })
	return q
}

// openAll opens what can't be opened yet, and reports whether that is done.
func (q *Queue) openAll(open func() (Sink, error)) bool {
	pause := q.cfg.RetryMin
	for {
		if !q.sleep(pause) {
			return false
		}
		if err := q.tryOpen(open); err != nil {
			q.fails(err)
			pause = min(2*pause, q.cfg.RetryMax)
			continue
		}
		q.opening.Store(false)
		q.works()
		return true
	}
}

func (q *Queue) tryOpen(open func() (Sink, error)) error {
	if err := q.openSpool(); err != nil {
		return err
	}
	sink, err := open()
	if err == nil {
		q.use(sink)
	}
	return err
}
