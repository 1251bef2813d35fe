//go:build linux

package main

import (
	"fmt"
	"log/slog"
	"os/user"
	"sync/atomic"

	"capstan/pkg/pcapfilter"
	"capstan/rpcapd/internal/access"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/metrics"
	"capstan/rpcapd/internal/tlsfiles"
)

// doors is what a client has to pass, and what is told about who passed it.
// It is made of files that SIGHUP reads again.
type doors struct {
	log   *slog.Logger
	tls   *tlsfiles.Files // nil without TLS
	guard *access.Guard
	audit *audit.Log // nil without record

	reloads, failedReloads atomic.Uint64
}

func openDoors(cfg config.Config, log *slog.Logger) (*doors, error) {
	d := &doors{log: log}
	if cfg.TLS {
		var err error
		d.tls, err = tlsfiles.Open(tlsfiles.Options{
			Certificate: cfg.TLSCertificate, Key: cfg.TLSKey, ClientAuthority: cfg.TLSClientCA, RequireClient: cfg.RequireCert,
		}, log)
		if err != nil {
			//lint:ignore ST1005 scripts look for the reference's text
			return nil, fmt.Errorf("Can't initialize SSL: %w", err)
		}
	}
	source, err := accounts(cfg, auth.System{}, log)
	if err != nil {
		return nil, err
	}
	d.guard, err = access.New(access.Options{
		Source: source, Policy: cfg.Policy, Group: cfg.CaptureGroup,
		CheckFilter: func(expression string) error { _, err := pcapfilter.Parse(expression); return err },
	}, log)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if _, err := user.LookupGroup(cfg.CaptureGroup); cfg.CaptureGroup != "" && err != nil {
		log.Warn("nobody is in the group of --capture-group", "err", err) // it may come to be
	}
	if cfg.AuditLog != "" {
		if d.audit, err = audit.Open(cfg.AuditLog, log); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// accounts returns where passwords are looked up. That the system's can't be
// read is a warning where somebody may want to log in.
func accounts(cfg config.Config, system auth.System, log *slog.Logger) (auth.Source, error) {
	if cfg.Credentials != "" {
		file := auth.CredentialsFile(cfg.Credentials)
		if err := file.Check(); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		return file, nil
	}
	if needed := cfg.TCP || cfg.Inetd || len(cfg.Active) > 0; needed && !cfg.NullAuth {
		if err := system.Readable(); err != nil {
			log.Warn("nobody can log in with a password of this system; use root, CAP_DAC_READ_SEARCH or --credentials", "err", err)
		}
	}
	return system, nil
}

func (d *doors) close() {
	if err := d.audit.Close(); err != nil {
		d.log.Error("audit log", "err", err)
	}
}

// reload reads the files again. One that is bad leaves what was.
func (d *doors) reload() {
	if d.tls != nil {
		d.note("TLS certificate", d.tls.Reload())
	}
	d.note("policy", d.guard.Reload())
	if d.audit != nil {
		d.note("audit log", d.audit.Reopen())
	}
}

func (d *doors) note(what string, err error) {
	if err != nil {
		d.failedReloads.Add(1)
		d.log.Error(what+" stays as it was, since it can't be read again", "err", err)
		return
	}
	d.reloads.Add(1)
}

// count adds what the doors know to s.
func (d *doors) count(s metrics.Snapshot) metrics.Snapshot {
	if d.tls != nil {
		s.CertificateExpiry = d.tls.Expiry()
	}
	s.AuditFailures = d.audit.Failed()
	s.Reloads, s.FailedReloads = d.reloads.Load(), d.failedReloads.Load()
	return s
}
