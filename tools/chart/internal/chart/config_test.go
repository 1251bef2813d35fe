package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// configured are the values that every option which the chart sets is set by.
const configured = `
monitoring: {enabled: true}
capture: {snapLength: 128}
relay: {enabled: false}
interceptor: {maskHeaders: [a], collector: {address: "a:1", tlsSecret: a, tokenSecret: a}}
`

// TestOptionsOfTheChart holds that exactly those options are refused in
// interceptor.config which the chart gives as flags, since these come before
// the file.
func TestOptionsOfTheChart(t *testing.T) {
	var flags []string
	for _, arg := range container(t, render(t, configured).sensor(t), "interceptor").Args[1:] {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		flags = append(flags, strings.ReplaceAll(name, "-", "_"))
	}
	template, err := os.ReadFile(filepath.Join(chartDir, "templates", "_config.tpl"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(template), `{{- define "capstan.ownOptions" -}}`)
	text, _, _ = strings.Cut(text, "{{- end }}")
	own := strings.Fields(text)
	slices.Sort(flags)
	slices.Sort(own)
	if !slices.Equal(flags, own) {
		t.Errorf("the chart sets\n%v, and refuses\n%v", flags, own)
	}
}

// examples returns the values that the comments of values.yaml show for
// interceptor.config.
func examples(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	inside := false
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, "  #   ")
		if ok && !inside {
			found = append(found, "interceptor:\n")
		}
		if inside = ok; ok {
			found[len(found)-1] += "  " + rest
		}
	}
	return found
}

// TestConfigIsUnderstood holds that interceptor takes the configuration that
// values are rendered to: those of the examples in values.yaml too.
func TestConfigIsUnderstood(t *testing.T) {
	interceptor := filepath.Join(t.TempDir(), "interceptor")
	build := exec.Command("go", "build", "-o", interceptor, "./interceptor")
	build.Dir = "../../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	values := append(examples(t), combinations["sinks"])
	if len(values) != 4 {
		t.Fatalf("%d examples", len(values)-1)
	}
	for _, v := range values {
		o := render(t, v)
		if len(o.configMaps) != 1 {
			t.Fatalf("%d ConfigMaps of %s", len(o.configMaps), v)
		}
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(o.configMaps[0].Data["config.yaml"]), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(interceptor, "config", "check", file).CombinedOutput(); err != nil {
			t.Errorf("%v: %s\nof %s", err, out, v)
		}
	}
}

// TestConfigIsMounted holds that the file, and the secrets that it names, are
// where interceptor reads them, and that a change of it replaces the pods.
func TestConfigIsMounted(t *testing.T) {
	annotations := make(map[string]bool)
	for values, want := range map[string]string{
		"{interceptor: {config: {flows: true}, configSecrets: [kafka]}}":   "ConfigMap capstan-interceptor",
		"{interceptor: {config: {flows: false}, configSecrets: [kafka]}}":  "ConfigMap capstan-interceptor",
		"{interceptor: {existingConfigSecret: a, configSecrets: [kafka]}}": "Secret a",
	} {
		o := render(t, values)
		pod := o.sensor(t)
		c := container(t, pod, "interceptor")
		if !slices.Contains(c.Args, "--config=/etc/capstan/config/config.yaml") {
			t.Errorf("%s: %v", values, c.Args)
		}
		if got := configVolume(pod); got != want {
			t.Errorf("%s: %s is mounted", values, got)
		}
		if secretVolume(pod, "secret-kafka") != "kafka" {
			t.Errorf("%s: no secret", values)
		}
		for name, path := range map[string]string{"config": "/etc/capstan/config", "secret-kafka": "/etc/capstan/secrets/kafka"} {
			if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == name && m.MountPath == path && m.ReadOnly }) {
				t.Errorf("%s: %s isn't at %s: %+v", values, name, path, c.VolumeMounts)
			}
		}
		annotations[o.daemonSets[0].Spec.Template.Annotations["checksum/config"]] = true
	}
	if len(annotations) != 3 {
		t.Errorf("pods stay as they are: %v", annotations)
	}
}

// configVolume returns what the volume of a pod's configuration is filled from.
func configVolume(pod *corev1.PodSpec) string {
	for _, v := range pod.Volumes {
		switch {
		case v.Name != "config":
		case v.ConfigMap != nil:
			return "ConfigMap " + v.ConfigMap.Name
		case v.Secret != nil:
			return "Secret " + v.Secret.SecretName
		}
	}
	return "nothing"
}
