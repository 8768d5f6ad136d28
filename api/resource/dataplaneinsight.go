package resource

import "github.com/hauberk-mesh/hauberk/api"

// DataplaneInsight is what a proxy has told about itself. Read-only: the control plane writes it.
type DataplaneInsight struct {
	Inbounds []InboundInsight `json:"inbounds,omitempty"`
}

// InboundInsight is whether the application behind an inbound answers.
type InboundInsight struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// DataplaneInsightKind describes DataplaneInsight.
func DataplaneInsightKind() api.Kind {
	return readOnly(short(api.DefineKind("DataplaneInsight", "dataplaneinsights", unvalidated[DataplaneInsight]), "dataplaneinsight", "dpi"))
}
