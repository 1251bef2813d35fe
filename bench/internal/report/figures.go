//go:build linux

package report

import (
	"capstan/bench/internal/server"
	"capstan/bench/internal/trial"
)

// values collects a figure of all runs.
func (s *Series) values(figure func(*trial.Result) float64) []float64 {
	list := make([]float64, len(s.Runs))
	for i := range s.Runs {
		list[i] = figure(&s.Runs[i])
	}
	return list
}

// Of returns the spread of a figure over the runs.
func (s *Series) Of(figure func(*trial.Result) float64) Spread { return SpreadOf(s.values(figure)) }

// CPU returns the processor time in ns per delivered frame.
func (s *Series) CPU() Spread { return s.Of((*trial.Result).CPUPerFrame) }

// Offered returns the frames per second that were really sent.
func (s *Series) Offered() Spread {
	return s.Of(func(r *trial.Result) float64 { return r.OfferedRate })
}

// Lost returns the percentage of the frames that arrived and were not delivered.
func (s *Series) Lost() Spread {
	return s.Of(func(r *trial.Result) float64 { return 100 * r.LostShare() })
}

// sum adds up a number of frames over all runs.
func (s *Series) sum(figure func(*trial.Result) int64) (n int64) {
	for i := range s.Runs {
		n += figure(&s.Runs[i])
	}
	return n
}

// FeedTransport is the transport of the sending limit that a server is measured
// against: its own, or TCP where there is no limit of its own.
func FeedTransport(t server.Transport) server.Transport {
	if t == server.Unix {
		return server.Unix
	}
	return server.TCP
}

// possible returns, by round, what the same work costs at best: draining the
// ring plus sending the bytes, in ns per frame. For a local capture it is
// draining alone. Rounds in which one of them wasn't measured are left out.
func (l *Load) possible(t server.Transport) map[int]float64 {
	drained := byRound(&l.Drain)
	if t == server.Local {
		return drained
	}
	feed := l.Feeds[FeedTransport(t)]
	sum := byRound(&feed)
	for round, sent := range sum {
		if drain, ok := drained[round]; ok {
			sum[round] = sent + drain
		} else {
			delete(sum, round)
		}
	}
	return sum
}

// byRound returns the ns per frame of each round.
func byRound(s *Series) map[int]float64 {
	m := make(map[int]float64)
	for i := range s.Runs {
		m[s.Runs[i].Round] = s.Runs[i].CPUPerFrame()
	}
	return m
}

// Ratio returns how many times the possible a server's processor time per frame
// is, round by round.
func (l *Load) Ratio(s *Series, t server.Transport) Spread {
	var list []float64
	for _, ratio := range l.ratios(s, t) {
		list = append(list, ratio)
	}
	return SpreadOf(list)
}

// ratios returns the ratio by round.
func (l *Load) ratios(s *Series, t server.Transport) map[int]float64 {
	possible, ratios := l.possible(t), make(map[int]float64)
	for round, cost := range byRound(s) {
		if p := possible[round]; p > 0 && cost > 0 {
			ratios[round] = cost / p
		}
	}
	return ratios
}

// transport returns the transport of a server.
func (r *Report) transport(name string) server.Transport {
	for _, s := range r.Servers {
		if s.Name == name {
			return s.Transport
		}
	}
	return ""
}
