"""Stand-in for pulumi-aws v7.51.1: the resource types the program uses, over boto3, on the lab's moto."""
