package api

// ValidateForApply refuses what a user may read but not write: kinds that the control plane alone writes, the label that
// says who wrote a resource, and namespaces, which exist on Kubernetes only. The error is an *InvalidError.
func (r *Registry) ValidateForApply(resources []*Resource) error {
	invalid := &InvalidError{}
	for i, res := range resources {
		add := func(field, message, fix string) {
			invalid.add(Finding{
				Document: i + 1, Kind: res.Kind, Name: res.Metadata.Name, Problem: Problem{Field: field, Message: message, Fix: fix},
			})
		}
		if k, known := r.Kind(res.Kind); !known {
			add("kind", "is unknown", "")
		} else if k.ReadOnly {
			add("kind", "is written by the control plane alone", "leave the document out")
		}
		if _, has := res.Metadata.Labels[LabelOrigin]; has {
			add("metadata.labels["+LabelOrigin+"]", "is set by the control plane alone", "remove the label: what you apply is yours")
		}
		if res.Metadata.Namespace != "" {
			add("metadata.namespace", "is for Kubernetes", "remove it, and choose the mesh by the label "+LabelMesh)
		}
	}
	return invalid.orNil()
}
