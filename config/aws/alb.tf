# An Application Load Balancer of AWS in front of offhook, in Terraform: a fragment for a module that has these four
# variables. No test runs it, since that takes an account of AWS.
#
# An ALB asks no second receiver when the first one answers 503. Until its health checks have seen that (10 s), Twilio
# gets that 503 and has to try again itself: give it the URL with #rc=5&rp=all. If no receiver is healthy, the ALB asks
# all of them, so that the fallback URLs are answered all the same.

variable "vpc_id" { type = string }
variable "subnet_ids" { type = list(string) }
variable "security_group_ids" { type = list(string) }
variable "certificate_arn" { type = string }

resource "aws_lb" "offhook" {
  name               = "offhook"
  load_balancer_type = "application"
  subnets            = var.subnet_ids
  security_groups    = var.security_group_ids
  # Less than the 75 s after which offhook closes an idle connection (inbound.idle_timeout_ms).
  idle_timeout = 60
}

resource "aws_lb_target_group" "offhook" {
  name        = "offhook"
  vpc_id      = var.vpc_id
  target_type = "ip"
  protocol    = "HTTP"
  port        = 8080
  # A receiver that stops finishes within 25 s.
  deregistration_delay = 30

  health_check {
    # On the same port as the callbacks. 503 while a receiver can make nothing durable, and while it stops.
    path                = "/healthz"
    matcher             = "200"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# There is no listener for http: a redirect to https would turn the POST into a GET without parameters.
resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.offhook.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.offhook.arn
  }
}
