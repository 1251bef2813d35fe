package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"capstan/pkg/strictyaml"
)

// check tells what is wrong with values that are each well-formed.
func check(r *strictyaml.Reader, f *File) {
	wrong := r.ErrorAt
	for i := range f.Rules {
		if err := f.Rules[i].Check(); err != nil {
			wrong(fmt.Sprintf("rules[%d]", i), "%v", err)
		}
	}
	for i, t := range f.BodyTypes {
		if strings.Count(t, "/") != 1 {
			wrong(fmt.Sprintf("body_types[%d]", i), "%q is no media type such as application/json or text/*", t)
		}
	}
	names, dirs := map[string]bool{}, map[string]bool{}
	for i := range f.Sinks {
		s, key := &f.Sinks[i], fmt.Sprintf("sinks[%d]", i)
		if !hasOneKind(s, key, wrong) {
			continue
		}
		if s.Name == "" {
			s.Name = s.Kind()
		}
		if names[s.Name] {
			wrong(key+".name", "another sink is called %q, too", s.Name)
		}
		names[s.Name] = true
		queue(s, key, dirs, wrong)
		switch {
		case s.File != nil && s.File.Path == "":
			wrong(key+".file", "path is missing")
		case s.Kafka != nil:
			checkKafka(s.Kafka, key+".kafka", wrong)
		case s.OTLP != nil:
			checkOTLP(s.OTLP, key+".otlp", wrong)
		case s.Collector != nil:
			address(s.Collector.Address, key+".collector.address", wrong)
		}
	}
}

// hasOneKind reports whether a sink has exactly one kind.
func hasOneKind(s *Sink, key string, wrong wrongFunc) bool {
	kinds := 0
	for _, set := range []bool{s.Stdout != nil, s.File != nil, s.Kafka != nil, s.OTLP != nil, s.Collector != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		wrong(key, "want exactly one of stdout, file, kafka, otlp, collector; there are %d", kinds)
	}
	return kinds == 1
}

type wrongFunc func(key, format string, a ...any)

// queue checks, and completes, what is said of a sink's queue.
func queue(s *Sink, key string, dirs map[string]bool, wrong wrongFunc) {
	if s.Policy == "" {
		switch {
		case s.SpoolDir != "":
			s.Policy = "spool"
		case s.Stdout != nil, s.File != nil:
			s.Policy = "block"
		default:
			s.Policy = "drop-oldest"
		}
	}
	switch {
	case (s.Policy == "spool") != (s.SpoolDir != ""):
		wrong(key+".policy", "the policy spool and a spool_dir come together")
	case s.SpoolBytes != 0 && s.SpoolDir == "":
		wrong(key+".spool_bytes", "there is no spool_dir")
	case s.SpoolDir != "" && dirs[s.SpoolDir]:
		wrong(key+".spool_dir", "another sink has %q, too", s.SpoolDir)
	}
	if s.SpoolDir != "" {
		dirs[s.SpoolDir] = true
		if s.SpoolBytes == 0 {
			s.SpoolBytes = 1 << 30
		}
	}
}

func checkKafka(k *Kafka, key string, wrong wrongFunc) {
	if len(k.Brokers) == 0 {
		wrong(key, "brokers are missing")
	}
	for i, b := range k.Brokers {
		address(b, fmt.Sprintf("%s.brokers[%d]", key, i), wrong)
	}
	if k.Topic == "" {
		wrong(key, "topic is missing")
	}
	if k.MaxRecord < 1024 || k.MaxRecord > 512<<20 {
		wrong(key+".max_record", "not from 1KiB to 512MiB")
	}
	checkTLS(&k.TLS, key+".tls", wrong)
	if k.Proxy.URL == "" && k.Proxy != (Proxy{}) {
		wrong(key+".proxy", "url is missing")
	}
	if k.SASL.Mechanism != "none" && (k.SASL.User == "" || k.SASL.PasswordFile == "") {
		wrong(key+".sasl", "user and password_file are missing")
	}
	if k.SASL.Mechanism == "plain" && !k.TLS.Enabled {
		wrong(key+".sasl.mechanism", "plain shows the password to everybody on the way: enable tls, or use scram-sha-512")
	}
}

func checkOTLP(o *OTLP, key string, wrong wrongFunc) {
	if !o.Traces && !o.Metrics {
		wrong(key, "neither traces nor metrics: nothing would be sent")
	}
	if o.Timeout == 0 {
		wrong(key+".timeout", "has to be more than 0s")
	}
	checkTLS(&o.TLS, key+".tls", wrong)
	if o.Protocol == "grpc" {
		address(o.Endpoint, key+".endpoint", wrong)
		return
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		wrong(key+".endpoint", "with http, want a URL such as http://HOST:4318, without user and query")
		return
	}
	if o.TLS.Enabled && u.Scheme == "http" {
		wrong(key+".tls.enabled", "the endpoint's scheme is http: write https")
	}
}

func checkTLS(t *TLS, key string, wrong wrongFunc) {
	if (t.Cert == "") != (t.Key == "") {
		wrong(key, "cert and key come together")
	}
}

func address(text, key string, wrong wrongFunc) {
	if host, port, err := net.SplitHostPort(text); err != nil || host == "" || port == "" {
		wrong(key, "%q is not HOST:PORT", text)
	}
}
