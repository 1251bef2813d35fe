// Package access decides who a client is and what it may do: it puts together
// what package auth knows about passwords and package policy about rights.
package access

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/policy"
)

// Guard decides. It is safe from any goroutine.
type Guard struct {
	authenticator *auth.Authenticator
	file          string // of the policy; empty is none
	group         string
	check         policy.CheckFilter
	log           *slog.Logger
	current       atomic.Pointer[policy.Policy]

	unreadable sync.Once // warns of accounts that can't be read
	clear      sync.Once // warns of passwords without TLS
}

// Options of a Guard.
type Options struct {
	Source auth.Source // of the accounts
	Policy string      // file; empty is none
	// Group is the name of a system group whose members may do everything, as
	// far as the policy has no entry for them; empty is none.
	Group string
	// CheckFilter tells what is wrong with a filter of the policy.
	CheckFilter policy.CheckFilter
}

// New returns a guard, after reading the policy file.
func New(o Options, log *slog.Logger) (*Guard, error) {
	g := &Guard{authenticator: auth.New(o.Source), file: o.Policy, group: o.Group, check: o.CheckFilter, log: log}
	return g, g.Reload()
}

// Reload reads the policy file again, for logins that come. After an error the
// old one stays in force.
func (g *Guard) Reload() error {
	p := &policy.Policy{}
	if g.file != "" {
		var err error
		if p, err = policy.Load(g.file, g.check); err != nil {
			return err
		}
	}
	if g.group != "" {
		p.Groups = append(p.Groups, policy.Group{Name: g.group, Rights: policy.Everything()})
	}
	g.current.Store(p)
	return nil
}

// Login holds a password against the user's account, wipes it, and returns what
// the user may do. The error is an [*auth.LoginError].
func (g *Guard) Login(ctx context.Context, peer netip.Addr, user string, password []byte) (policy.Rights, error) {
	account, err := g.authenticator.Login(ctx, peer, user, password)
	if err != nil {
		g.warnUnreadable(err)
		return policy.Rights{}, err
	}
	return g.current.Load().RightsOf(policy.User{
		Name: account.Name, System: account.System, UID: account.UID, Groups: account.Groups,
	}), nil
}

// Anonymous returns what clients may do that are let in without login.
func (g *Guard) Anonymous() policy.Rights { return g.current.Load().RightsOfAnonymous() }

// ClearPassword says that a password came in clear, which is warned of once.
func (g *Guard) ClearPassword(peer netip.Addr) {
	if peer.IsLoopback() || !peer.IsValid() {
		return
	}
	g.clear.Do(func() {
		g.log.Warn("a password came over the network in clear, for everybody on the way to read; use -S, a unix socket or a tunnel", "peer", peer.String())
	})
}

func (g *Guard) warnUnreadable(err error) {
	le := (*auth.LoginError)(nil)
	if !errors.As(err, &le) {
		return
	}
	switch le.Refusal {
	case auth.RefusedSource:
		g.unreadable.Do(func() { g.log.Error("nobody can log in: the accounts can't be read", "err", le.Err) })
	case auth.RefusedHash:
		g.log.Warn("a user can't log in", "err", le.Err)
	}
}
