//go:build linux

package suite

import (
	"context"
	"strconv"

	"capstan/bench/internal/report"
	"capstan/bench/internal/server"
	"capstan/bench/internal/sink"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
)

func feedTransport(t server.Transport) server.Transport { return report.FeedTransport(t) }

// limits measures, in the round of the servers, what each half of their work
// costs alone.
func (s *session) limits(ctx context.Context, m *report.Load, round int) {
	drain := server.Spec{Name: "drain", Transport: server.Local, Command: []string{
		"{bench}", "limit", "drain", "-i", "{interface}", "--block-timeout", s.cfg.ReadTimeout.String(),
	}}
	r, ok := s.one(ctx, drain, m.Load, trial.Options{Quiet: 2 * sink.QuietFor(s.cfg.ReadTimeout)})
	if !ok {
		return
	}
	r.Round = round
	m.Drain.Runs = append(m.Drain.Runs, r)
	size, err := traffic.MeanLen(m.Plan())
	if err != nil {
		s.miss("sending at %s: %v", describe(m.Load), err)
		return
	}
	rate := m.Rate
	if rate == 0 { // as many as a server would have to send
		rate = r.OfferedRate
	}
	for _, t := range s.plan.feeds() {
		address := "127.0.0.1:{port}"
		if t == server.Unix {
			address = "{socket}"
		}
		feed := server.Spec{Name: "send-" + string(t), Transport: t, Command: []string{
			"{bench}", "limit", "feed", "--network", string(t), "--address", address, "--size", strconv.Itoa(size),
			"--rate", strconv.FormatFloat(rate, 'f', 0, 64), "--duration", m.Duration.String(),
		}}
		if r, ok := s.one(ctx, feed, m.Load, trial.Options{Feed: true}); ok {
			r.Round = round
			series := m.Feeds[t]
			series.Server = feed.Name
			series.Runs = append(series.Runs, r)
			m.Feeds[t] = series
		}
	}
}
