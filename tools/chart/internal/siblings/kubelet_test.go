package siblings

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"capstan/tools/chart/internal/chart"
)

// release is what the chart renders, as far as pods are made of it.
type release struct {
	pods  map[string]corev1.PodSpec    // by component
	files map[string]map[string][]byte // that secrets and ConfigMaps hold, by these' names
	notes string
}

// render renders the chart with values over those for images of this host.
func render(t *testing.T, values string) *release {
	t.Helper()
	c, err := chart.Load(repository + "/manifests/charts/capstan")
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := c.Render("image: {registry: localhost}\n" + values)
	if err != nil {
		t.Fatal(err)
	}
	r := &release{make(map[string]corev1.PodSpec), make(map[string]map[string][]byte), rendered.Notes}
	for _, text := range rendered.Objects {
		var o struct { // what is read here of the kinds
			Kind     string
			Metadata struct {
				Name   string
				Labels map[string]string
			}
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		decode(t, text, &o)
		switch o.Kind {
		case "DaemonSet", "Deployment":
			r.pods[o.Metadata.Labels["app.kubernetes.io/component"]] = o.Spec.Template.Spec
		case "Secret":
			var s corev1.Secret
			decode(t, text, &s)
			r.files[o.Metadata.Name] = s.Data
		case "ConfigMap":
			var m corev1.ConfigMap
			decode(t, text, &m)
			r.files[o.Metadata.Name] = make(map[string][]byte)
			for name, data := range m.Data {
				r.files[o.Metadata.Name][name] = []byte(data)
			}
		}
	}
	return r
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// pod is a pod whose volumes are directories of this host.
type pod struct {
	corev1.PodSpec
	volumes map[string]string // directories by the volumes' names
}

// pod makes of a component's pod what kubelet would on this host.
func (r *release) pod(t *testing.T, component string) *pod {
	t.Helper()
	spec, ok := r.pods[component]
	if !ok {
		t.Fatalf("no pod of %s", component)
	}
	p := &pod{*spec.DeepCopy(), make(map[string]string)}
	for i := range p.Volumes {
		v := &p.Volumes[i]
		dir := t.TempDir()
		group := int(*p.SecurityContext.FSGroup)
		switch {
		case v.EmptyDir != nil:
			// Open to all of the pod's users, and of its group. podman's own are of
			// the user of whichever container it prepares first.
			give(t, dir, group, 0o777|os.ModeSetgid)
		case v.Secret != nil:
			r.fill(t, dir, v.Secret.SecretName, group)
		case v.ConfigMap != nil:
			r.fill(t, dir, v.ConfigMap.Name, group)
		}
		v.VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}
		p.volumes[v.Name] = dir
	}
	for i := range p.Containers {
		for j := range p.Containers[i].Env {
			r.resolve(t, &p.Containers[i].Env[j])
		}
	}
	return p
}

// fill writes the files of a secret or ConfigMap, for a group to read.
func (r *release) fill(t *testing.T, dir, object string, group int) {
	t.Helper()
	if len(r.files[object]) == 0 {
		t.Fatalf("nothing in %s", object)
	}
	for name, data := range r.files[object] {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o440); err != nil {
			t.Fatal(err)
		}
		give(t, path, group, 0o440)
	}
	give(t, dir, group, 0o750)
}

func give(t *testing.T, path string, group int, mode os.FileMode) {
	t.Helper()
	if err := os.Chown(path, 0, group); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// resolve gives a variable its value, which podman knows no node and no
// cluster's secrets for.
func (r *release) resolve(t *testing.T, e *corev1.EnvVar) {
	t.Helper()
	switch from := e.ValueFrom; {
	case from == nil:
	case from.SecretKeyRef != nil:
		value, ok := r.files[from.SecretKeyRef.Name][from.SecretKeyRef.Key]
		if !ok {
			t.Fatalf("%s: no key %s in secret %s", e.Name, from.SecretKeyRef.Key, from.SecretKeyRef.Name)
		}
		*e = corev1.EnvVar{Name: e.Name, Value: string(value)}
	case from.FieldRef != nil && from.FieldRef.FieldPath == "spec.nodeName":
		*e = corev1.EnvVar{Name: e.Name, Value: "this-node"}
	default:
		t.Fatalf("%s: what is %s?", e.Name, fmt.Sprint(from))
	}
}
