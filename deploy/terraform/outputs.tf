output "settings" {
  description = "For the chart's values: settings.kafka and settings.objects."
  value = {
    kafka   = aws_msk_cluster.this.bootstrap_brokers_sasl_scram
    objects = "s3://${aws_s3_bucket.this.bucket}"
  }
}

output "catalog" {
  description = "Address of PostgreSQL; user and password are in the secret."
  value = {
    address = aws_db_instance.this.endpoint
    secret  = aws_db_instance.this.master_user_secret[0].secret_arn
  }
}

output "kafka_secret" {
  description = "Kafka's user and password."
  value       = aws_secretsmanager_secret.kafka.arn
}

output "tintype_role_arn" {
  description = "The role of Tintype's pods; bound to the service account by Pod Identity already."
  value       = aws_iam_role.pods.arn
}

output "kubeconfig" {
  description = "The command that lets kubectl reach the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${aws_eks_cluster.this.name}"
}
