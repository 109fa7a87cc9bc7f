"""EC2's instance types: what a job can have of each, and what it costs. The lowest layer, beside `batchyard.shapes`.

`load` reads the data file that comes with the package; nothing else here does any I/O.
"""

from batchyard.catalogue.data import load, parse
from batchyard.catalogue.expansion import BUNDLES, Catalogue, UnknownInstanceType
from batchyard.catalogue.instance_type import Architecture, InstanceType

__all__ = ["BUNDLES", "Architecture", "Catalogue", "InstanceType", "UnknownInstanceType", "load", "parse"]
