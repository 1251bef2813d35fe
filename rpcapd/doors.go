//go:build linux

package main

import (
	"fmt"
	"log/slog"
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
	var err error
	if cfg.TLS {
		d.tls, err = tlsfiles.Open(tlsfiles.Options{
			Certificate: cfg.TLSCertificate, Key: cfg.TLSKey, ClientAuthority: cfg.TLSClientCA, RequireClient: cfg.RequireCert,
		}, log)
		if err != nil {
			//lint:ignore ST1005 scripts look for the reference's text
			return nil, fmt.Errorf("Can't initialize SSL: %w", err)
		}
	}
	var source auth.Source = auth.System{}
	if cfg.Credentials != "" {
		file := auth.CredentialsFile(cfg.Credentials)
		if err := file.Check(); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		source = file
	}
	d.guard, err = access.New(access.Options{
		Source: source, Policy: cfg.Policy, Group: cfg.CaptureGroup,
		CheckFilter: func(expression string) error { _, err := pcapfilter.Parse(expression); return err },
	}, log)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if cfg.AuditLog != "" {
		if d.audit, err = audit.Open(cfg.AuditLog, log); err != nil {
			return nil, err
		}
	}
	return d, nil
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
