# What Tintype's pods may do: its objects in its bucket, and nothing else of AWS.

data "aws_iam_policy_document" "pod_trust" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
  }
}

resource "aws_iam_role" "pods" {
  name_prefix        = "${var.name}-pods-"
  assume_role_policy = data.aws_iam_policy_document.pod_trust.json
}

data "aws_iam_policy_document" "pods" {
  statement {
    sid       = "Objects"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.this.arn}/*"]
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"]
    resources = [aws_s3_bucket.this.arn]
  }
}

resource "aws_iam_role_policy" "pods" {
  name   = "objects"
  role   = aws_iam_role.pods.id
  policy = data.aws_iam_policy_document.pods.json
}

resource "aws_eks_pod_identity_association" "pods" {
  cluster_name    = aws_eks_cluster.this.name
  namespace       = var.namespace
  service_account = "tintype"
  role_arn        = aws_iam_role.pods.arn
}
