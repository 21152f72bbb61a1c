"""Tags that one side writes and the other reads."""

# On a bucket or a model package group that is emptied before it is deleted. Updates run before CloudFormation
# deletes what left the template: where that comes to say `retain`, the tag goes first, and the content stays.
EMPTY_ON_DELETE = ("modelyard:empty-on-delete", "true")
