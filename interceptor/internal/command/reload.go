package command

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/remote"
)

// changeable are the options that SIGHUP changes; others need a restart.
var changeable = []string{"body_limit", "filter", "mask_header", "mask_query"}

// announce tells at the start what holds.
func (r *runner) announce() {
	r.log.Info("memory limit", "bytes", r.flags.budget.Limit())
	if r.settings.path != "" {
		r.tellPolicy()
	}
}

func (r *runner) tellPolicy() {
	r.log.Info("policy of records", "is", strings.Join(r.flags.describe(r.settings.file), "; "))
	for _, q := range r.out.fanout.Queues() {
		c := r.sinks.opened[q]
		r.log.Info("sink", "name", c.Name, "kind", c.Kind(), "policy", c.Policy)
	}
}

// reloadOnHangup reads the configuration file again at each SIGHUP, until the
// function that it returns is called; once ctx has ended that changes nothing, for new
// sinks would take some of the time that those there are have left. Without a file the
// signal does what it always does.
func (r *runner) reloadOnHangup(ctx context.Context) (stop func()) {
	if r.settings.path == "" {
		return func() {}
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hangups:
				if ctx.Err() != nil {
					r.log.Error("configuration not changed", "err", "the end has begun")
					continue
				}
				r.reload()
			case <-quit:
				return
			}
		}
	}()
	return func() { signal.Stop(hangups); close(quit); <-done }
}

// reload makes the file, as it is now, what holds. A file with a mistake
// changes nothing.
func (r *runner) reload() {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	var next runFlags
	next.register(flags)
	settings, err := r.settings.reload(flags)
	if err != nil {
		r.log.Error("configuration not changed", "err", err)
		return
	}
	policy, err := next.policy(settings)
	if err == nil {
		err = remote.CheckFilter(next.server.filter)
	}
	list, listErr := next.sinks.sinks(settings.file)
	_, formatErr := next.stdoutFormat(settings, list)
	if err := errors.Join(err, listErr, formatErr); err != nil {
		r.log.Error("configuration not changed", "err", err)
		return
	}
	r.tellUnchangeable(flags)
	r.changeFilter(next.server.filter)
	r.flags.keep.Set(next.bodyLimit, next.masks(), next.maskQueries())
	r.out.gate.policy.Store(policy)
	if err := r.sinks.change(list); err != nil {
		r.log.Error("sinks", "err", err)
	}
	r.settings.file = settings.file
	r.flags.bodyLimit, r.flags.mask, r.flags.maskQuery = next.bodyLimit, next.mask, next.maskQuery
	r.log.Info("configuration changed", "file", r.settings.path)
	r.tellPolicy()
}

// changeFilter replaces the filter of all captures, if it is another one. That of
// a file of its own is read again by itself.
func (r *runner) changeFilter(expression string) {
	if expression == r.flags.server.filter || r.flags.server.filterFile != "" {
		return
	}
	r.flags.server.filter = expression
	for _, c := range r.sources {
		c.SetFilter(expression)
	}
}

// tellUnchangeable tells of options that differ from those at the start, and go
// on as they are.
func (r *runner) tellUnchangeable(now *pflag.FlagSet) {
	now.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(changeable, key(f.Name)) && !slices.Equal(values(f), values(r.started.Lookup(f.Name))) {
			r.log.Warn("an option changes only with a restart", "option", key(f.Name))
		}
	})
}
