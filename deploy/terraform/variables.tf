variable "name" {
  description = "Prefix of everything that is made."
  type        = string
  default     = "tintype"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}$", var.name))
    error_message = "3 to 21 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "cidr" {
  description = "Addresses of the VPC; a /16 gives each zone room for the pods."
  type        = string
  default     = "10.64.0.0/16"
}

variable "num_zones" {
  description = "Availability zones. Kafka keeps three copies: three zones lose none with one zone."
  type        = number
  default     = 3

  validation {
    condition     = var.num_zones >= 2 && var.num_zones <= 3
    error_message = "2 or 3."
  }
}

variable "api_cidrs" {
  description = "Who may reach the Kubernetes API from outside; empty: only from within the VPC."
  type        = list(string)
  default     = []
}

variable "kubernetes_version" {
  description = "Version of EKS."
  type        = string
  default     = "1.33"
}

variable "kafka_version" {
  description = "Version of MSK: KRaft."
  type        = string
  default     = "4.0.x.kraft"
}

variable "kafka_instance" {
  description = "Broker's machine; deploy/SCALE.md says which load needs which."
  type        = string
  default     = "kafka.m7g.large"
}

variable "kafka_disk_gib" {
  description = "Disk of each broker."
  type        = number
  default     = 200
}

variable "database_instance" {
  description = "PostgreSQL's machine."
  type        = string
  default     = "db.m7g.large"
}

variable "database_disk_gib" {
  description = "Disk of the database at first; it grows to ten times that."
  type        = number
  default     = 50
}

variable "node_instance" {
  description = "Machines for ingest and processors: decoding wants cores."
  type        = string
  default     = "c7g.2xlarge"
}

variable "max_nodes" {
  description = "Most machines for ingest and processors."
  type        = number
  default     = 12
}

variable "gpu_instances" {
  description = "GPU machines for trainers; several kinds make spot easier to have."
  type        = list(string)
  default     = ["g6.xlarge", "g5.xlarge"]
}

variable "max_gpu_nodes" {
  description = "Most GPU machines at a time; there are none while nothing is trained."
  type        = number
  default     = 4
}

variable "namespace" {
  description = "Kubernetes namespace of the chart; its service account may use the role."
  type        = string
  default     = "tintype"
}

variable "deletion_protection" {
  description = "Refuse to destroy the database and a bucket that holds photos."
  type        = bool
  default     = true
}
